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

bool has_descriptor_store() {
    if (std::getenv("NOTIFY_SOCKET") == nullptr) return false;
    const char* most = std::getenv("FDSTORE");
    return most == nullptr || std::atoi(most) > 0;
}

Result<void> store_descriptor(int fd, const std::string& name) {
    // FDPOLL=0: the manager would drop a socket that has an error pending.
    const std::string state = fmt::format("FDSTORE=1\nFDNAME={}\nFDPOLL=0", name);
    if (const int r = sd_pid_notify_with_fds(0, 0, state.c_str(), &fd, 1); r < 0)
        return fail_errno(fmt::format("descriptor store: {}", name), -r);
    return {};
}

void remove_descriptor(const std::string& name) {
    notify(fmt::format("FDSTOREREMOVE=1\nFDNAME={}", name));
}

void await_manager(Duration most) {
    sd_notify_barrier(0, static_cast<std::uint64_t>(most.count()));
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
