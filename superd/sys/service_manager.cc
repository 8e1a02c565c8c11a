// SPDX-License-Identifier: MIT
#include "sys/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-daemon.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <cstdlib>

#include "base/time.h"

namespace superd::sys {
namespace {

class JournalSink final : public LogSink {
  public:
    void write(Level level, std::string_view message, std::span<const Field> fields) override {
        std::vector<std::string> lines = {"SYSLOG_IDENTIFIER=superd", fmt::format("PRIORITY={}", int(level)),
                                          fmt::format("MESSAGE={}", message)};
        for (const Field& field : fields) lines.push_back(fmt::format("{}={}", field.name, field.value));
        std::vector<iovec> parts;
        for (std::string& line : lines) parts.push_back({line.data(), line.size()});
        sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
    }
};

}  // namespace

std::vector<PassedSocket> passed_sockets() {
    std::vector<PassedSocket> sockets;
    char** names = nullptr;
    const int count = sd_listen_fds_with_names(1, &names);
    for (int i = 0; i < count; ++i) {
        Fd fd(SD_LISTEN_FDS_START + i);
        struct stat status {};
        if (fstat(fd.get(), &status) == 0 && S_ISSOCK(status.st_mode))
            sockets.push_back({names[i], std::move(fd).lifted()});
        std::free(names[i]);
    }
    std::free(names);
    return sockets;
}

void notify(const std::string& state) {
    sd_notify(0, state.c_str());
}

void notify_reloading() {
    notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now().time_since_epoch().count()));
}

bool is_journal(int fd) {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return stream != nullptr && fstat(fd, &status) == 0 && fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

std::unique_ptr<LogSink> journal_sink() {
    return std::make_unique<JournalSink>();
}

}  // namespace superd::sys
