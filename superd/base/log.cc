// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <new>

#include "base/json.h"
#include "base/text.h"

namespace superd {
namespace {

constexpr std::array kLevels = {std::pair{Level::error, "error"}, std::pair{Level::warning, "warning"},
                                std::pair{Level::notice, "notice"}, std::pair{Level::info, "info"},
                                std::pair{Level::debug, "debug"}};

std::string key_of(std::string_view name) {
    std::string out(name);
    for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return out;
}

std::string as_json(std::string_view value) {
    return JsonText(value).text();
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
        std::string line =
            fmt::format(R"({{"time":{},"level":"{}","message":{})", as_json(clock), name_of(level), as_json(message));
        for (const Field& field : fields)
            line +=
                fmt::format(",{}:{}", as_json(key_of(field.name)), field.number ? field.value : as_json(field.value));
        return line + "}";
    }
    if (style == LogStyle::logfmt) {
        std::string line = fmt::format("time={} level={} msg={}", clock, name_of(level), as_logfmt(message));
        for (const Field& field : fields) line += fmt::format(" {}={}", key_of(field.name), as_logfmt(field.value));
        return line;
    }
    std::string line = fmt::format("{} ", clock);
    if (level <= Level::warning) line += fmt::format("{}: ", name_of(level));
    if (const auto service = value_of(fields, "SERVICE"); !service.empty())
        line += fmt::format("{}: ", escape(service));
    return line += escape(message);
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

void QueuedSink::push(Record record) {
    const std::size_t size = record.text.size() + sizeof record;
    pending_.push_back(std::move(record));
    bytes_ += size;
}

void QueuedSink::pop() {
    bytes_ -= pending_.front().text.size() + sizeof(Record);
    pending_.pop_front();
    done_ = 0;
}

void QueuedSink::write(Level level, std::string_view message, std::span<const Field> fields) try {
    flush();
    if (lost_.untold > 0 && bytes_ < kMostPending / 2) {
        const std::array note = {Field("LOST", lost_.untold)};
        const auto text = fmt::format("{} lost: the log's reader did not keep up, or there was no memory",
                                      counted(lost_.untold, "log line"));
        push({encode(Level::warning, text, note), lost_.untold});
        lost_.untold = 0;
    }
    if (lost_.untold == 0 && bytes_ < kMostPending) return push({encode(level, message, fields), 0});
    ++lost_.untold;
    ++lost_.all;
} catch (const std::bad_alloc&) {
    ++lost_.untold;
    ++lost_.all;
}

bool QueuedSink::flush() {
    while (!pending_.empty()) {
        const Record& first = pending_.front();
        const auto taken = offer(std::string_view(first.text).substr(done_));
        if (taken && *taken == 0) break;
        if (!taken) {
            lost_.untold += std::max<std::uint64_t>(first.tells_of, 1);
            lost_.all += first.tells_of == 0;
        }
        done_ = taken ? done_ + *taken : first.text.size();
        if (done_ >= first.text.size()) pop();
    }
    return pending_.empty();
}

LogSink::Lost QueuedSink::lost_with_pending() const {
    Lost lost = lost_;
    for (const Record& record : pending_) {
        lost.untold += std::max<std::uint64_t>(record.tells_of, 1);
        lost.all += record.tells_of == 0;
    }
    return lost;
}

void QueuedSink::add_lost(Lost before) {
    lost_.all += before.all;
    lost_.untold += before.untold;
}

}  // namespace superd
