// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace superd {
namespace {

constexpr std::array kLevels = {std::pair{Level::error, "error"}, std::pair{Level::warning, "warning"},
                                std::pair{Level::notice, "notice"}, std::pair{Level::info, "info"},
                                std::pair{Level::debug, "debug"}};

std::string lower(std::string_view name) {
    std::string out(name);
    for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return out;
}

std::string as_logfmt(std::string_view value) {
    std::string quoted;
    for (const char c : value) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    quoted = escape(quoted);
    const bool plain = !quoted.empty() && quoted.find_first_of(" =\"\\") == std::string::npos;
    return plain ? quoted : fmt::format("\"{}\"", quoted);
}

std::string_view value_of(std::span<const Field> fields, std::string_view name) {
    for (const Field& field : fields)
        if (field.name == name) return field.value;
    return {};
}

std::string clock_text(LogStyle style) {
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);
    tm parts{};
    if (style == LogStyle::text) {
        localtime_r(&real.tv_sec, &parts);
        return fmt::format("{:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec);
    }
    gmtime_r(&real.tv_sec, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, real.tv_nsec / 1000);
}

class LineSink final : public LogSink {
  public:
    LineSink(int fd, LogStyle style) : fd_(fd), style_(style) {}

    void write(Level level, std::string_view message, std::span<const Field> fields) override {
        flush();
        if (lost_ > 0 && pending_.size() < kMostPending / 2) {
            const std::array note = {Field("LOST", lost_)};
            const auto text = fmt::format("{} log lines lost: the log's reader did not keep up", lost_);
            pending_ += format_record(style_, clock_text(style_), Level::warning, text, note) + "\n";
            lost_ = 0;
        }
        if (lost_ > 0 || pending_.size() >= kMostPending)
            ++lost_;
        else
            pending_ += format_record(style_, clock_text(style_), level, message, fields) + "\n";
    }

    // The descriptor may be shared with others, so its flags are left alone; a pipe that poll(2) calls writable
    // takes PIPE_BUF bytes without blocking, so all goes in pieces of that.
    bool flush() override {
        std::size_t done = 0;
        while (done < pending_.size()) {
            pollfd ready{fd_, POLLOUT, 0};
            if (poll(&ready, 1, 0) <= 0) break;
            const ssize_t n = ::write(fd_, pending_.data() + done, std::min<std::size_t>(pending_.size() - done, 4096));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && errno == EAGAIN) break;
            if (n <= 0) {  // nobody will ever read it
                done = pending_.size();
                break;
            }
            done += static_cast<std::size_t>(n);
        }
        pending_.erase(0, done);
        return pending_.empty();
    }

  private:
    int fd_;
    LogStyle style_;
    std::string pending_;
    std::uint64_t lost_ = 0;
};

}  // namespace

const char* name_of(Level level) {
    for (const auto& [value, name] : kLevels)
        if (value == level) return name;
    return nullptr;
}

bool parse_level(std::string_view name, Level& level) {
    for (const auto& [value, text] : kLevels)
        if (name == text) return level = value, true;
    return false;
}

std::string format_record(LogStyle style, std::string_view clock, Level level, std::string_view message,
                          std::span<const Field> fields) {
    if (style == LogStyle::json) {
        nlohmann::ordered_json record = {{"time", clock}, {"level", name_of(level)}, {"message", message}};
        for (const Field& field : fields) {
            if (field.number)
                record[lower(field.name)] = std::stoll(field.value);
            else
                record[lower(field.name)] = field.value;
        }
        // Bytes that are no UTF-8 become U+FFFD, so that a handler cannot break a reader of the log.
        return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    }
    if (style == LogStyle::logfmt) {
        std::string line = fmt::format("time={} level={} msg={}", clock, name_of(level), as_logfmt(message));
        for (const Field& field : fields) line += fmt::format(" {}={}", lower(field.name), as_logfmt(field.value));
        return line;
    }
    std::string line = fmt::format("{} ", clock);
    if (level <= Level::warning) line += fmt::format("{}: ", name_of(level));
    if (const auto service = value_of(fields, "SERVICE"); !service.empty())
        line += fmt::format("{}: ", escape(service));
    return line += escape(message);
}

std::unique_ptr<LogSink> line_sink(int fd, LogStyle style) {
    return std::make_unique<LineSink>(fd, style);
}

}  // namespace superd
