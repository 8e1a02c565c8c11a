// SPDX-License-Identifier: MIT
#include "sys/log_sinks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "sys/fd.h"
#include "sys/interruption.h"

namespace superd::sys {
namespace {

/// Whether the failure is temporary: then the same record is offered again.
bool passes(int code) {
    return code == EAGAIN || code == EINTR || code == ENOBUFS || code == ENOMEM;
}

class LineSink final : public QueuedSink {
  public:
    LineSink(int fd, LogStyle style) : fd_(fd), style_(style) {
        struct stat status {};
        if (fstat(fd, &status) != 0 || S_ISREG(status.st_mode)) return;
        if (S_ISSOCK(status.st_mode)) {
            way_ = Way::socket;
            return;
        }
        // Others may share the open file, so its flags stay; reopening it gives us flags of our own.
        const std::string self = fmt::format("/proc/self/fd/{}", fd);
        own_ = Fd(open(self.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (own_) own_ = std::move(own_).lifted();
        way_ = own_ ? Way::own : Way::shared;
    }

  protected:
    std::string encode(Level level, std::string_view message, std::span<const Field> fields) override {
        return format_record(style_, clock_text(style_), level, message, fields) + "\n";
    }

    std::optional<std::size_t> offer(std::string_view record) override {
        // A pipe that is writable takes this much at once.
        const std::string_view piece = record.substr(0, 4096);
        const ssize_t n = write_some(piece);
        if (n >= 0) return static_cast<std::size_t>(n);
        if (passes(errno)) return 0;
        return std::nullopt;
    }

  private:
    /// Another user's terminal or pipe cannot be reopened. Then superd first asks whether it has room; a write that
    /// still waits, because somebody else was quicker, is interrupted.
    enum class Way { file, socket, own, shared };

    ssize_t write_some(std::string_view piece) const {
        switch (way_) {
            case Way::socket:
                return send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            case Way::own:
                return ::write(own_.get(), piece.data(), piece.size());
            case Way::shared: {
                pollfd ready{fd_, POLLOUT, 0};
                if (poll(&ready, 1, 0) <= 0) return 0;
                const Interruption interruption(std::chrono::milliseconds(2));
                return ::write(fd_, piece.data(), piece.size());
            }
            case Way::file:
                break;
        }
        return ::write(fd_, piece.data(), piece.size());
    }

    const int fd_;
    const LogStyle style_;
    Fd own_;
    Way way_ = Way::file;
};

/// A line, or, if the value contains newlines, its size and bytes.
void add_field(std::string& out, std::string_view name, std::string_view value) {
    out += name;
    if (value.find('\n') == std::string_view::npos) {
        out += '=';
    } else {
        out += '\n';
        for (int i = 0; i < 8; ++i) out += static_cast<char>(std::uint64_t{value.size()} >> (8 * i));
    }
    out += value;
    out += '\n';
}

/// Uses its own socket, since sd_journal_sendv(3) waits. The path is looked up for each record, so a replaced journal
/// is found again.
class JournalSink final : public QueuedSink {
  public:
    explicit JournalSink(const std::string& path) {
        address_.sun_family = AF_UNIX;
        path.copy(address_.sun_path, sizeof address_.sun_path - 1);
        open_socket();
    }

  protected:
    std::string encode(Level level, std::string_view message, std::span<const Field> fields) override {
        std::string record;
        add_field(record, "SYSLOG_IDENTIFIER", "superd");
        add_field(record, "PRIORITY", std::to_string(static_cast<int>(level)));
        add_field(record, "MESSAGE", message);
        for (const Field& field : fields) add_field(record, field.name, field.value);
        return record;
    }

    std::optional<std::size_t> offer(std::string_view record) override {
        if (!socket_ && !open_socket()) return 0;
        if (send_message(record, -1)) return record.size();
        if (errno != EMSGSIZE) return 0;  // the journal is away or has no room: it may come back
        const auto file = file_with(record);
        if (!file)
            return passes(errno) || errno == EMFILE || errno == ENFILE ? std::optional<std::size_t>(0) : std::nullopt;
        return send_message({}, file.get()) ? record.size() : 0;
    }

  private:
    bool open_socket() {
        socket_ = Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (socket_) socket_ = std::move(socket_).lifted();
        return static_cast<bool>(socket_);
    }

    bool send_message(std::string_view text, int fd) const {
        iovec part{const_cast<char*>(text.data()), text.size()};
        msghdr header{};
        header.msg_name = const_cast<sockaddr_un*>(&address_);
        header.msg_namelen = sizeof address_;
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
        if (fd >= 0) {
            header.msg_iovlen = 0;
            header.msg_control = control;
            header.msg_controllen = sizeof control;
            cmsghdr* const message = CMSG_FIRSTHDR(&header);
            message->cmsg_level = SOL_SOCKET;
            message->cmsg_type = SCM_RIGHTS;
            message->cmsg_len = CMSG_LEN(sizeof fd);
            std::memcpy(CMSG_DATA(message), &fd, sizeof fd);
        }
        return sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    }

    /// A record that is too large for a message goes as a sealed file. Invalid with errno on failure.
    static Fd file_with(std::string_view record) {
        Fd file(memfd_create("superd-log", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        if (!file) return {};
        const ssize_t n = ::write(file.get(), record.data(), record.size());
        if (n >= 0 && static_cast<std::size_t>(n) < record.size()) errno = ENOSPC;
        if (n < static_cast<ssize_t>(record.size())) return {};
        if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) return {};
        return file;
    }

    sockaddr_un address_{};
    Fd socket_;
};

}  // namespace

std::unique_ptr<QueuedSink> line_sink(int fd, LogStyle style) {
    return std::make_unique<LineSink>(fd, style);
}

bool is_journal(int fd) {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return stream != nullptr && fstat(fd, &status) == 0 && fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

std::unique_ptr<QueuedSink> journal_sink(std::string path) {
    return std::make_unique<JournalSink>(path);
}

}  // namespace superd::sys
