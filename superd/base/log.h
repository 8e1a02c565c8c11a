// SPDX-License-Identifier: MIT
#pragma once
// The log: one record an event, a sentence for people and fields for programs.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace superd {

/// Values are those of syslog(3).
enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

/// nullptr where the name is none of error, warning, notice, info, debug.
const char* name_of(Level);
bool parse_level(std::string_view name, Level& level);

/// A field of a record. Names are upper case, as the journal has them.
struct Field {
    Field(std::string_view n, std::string_view v) : name(n), value(v) {}
    template <class Int>
    requires std::is_integral_v<Int> Field(std::string_view n, Int v)
        : name(n), value(std::to_string(v)), number(true) {}
    std::string_view name;
    std::string value;
    bool number = false;
};

/// Where records go. Nothing that a sink is given has been escaped: each does so in its own way.
class LogSink {
  public:
    virtual ~LogSink() = default;
    virtual void write(Level level, std::string_view message, std::span<const Field> fields) = 0;
    /// Writes what a slow reader has not taken yet. False: some is left.
    virtual bool flush() { return true; }
};

enum class LogStyle { text, logfmt, json };

/// Lines on a descriptor that it does not own. A reader that does not keep up never holds the loop: up to kMostPending
/// bytes wait for it; lines past them are lost, counted, and the count is reported.
std::unique_ptr<LogSink> line_sink(int fd, LogStyle style);
constexpr std::size_t kMostPending = 1 << 20;

/// One record as a line of its style, without the newline; `clock` is what stands in front.
std::string format_record(LogStyle style, std::string_view clock, Level level, std::string_view message,
                          std::span<const Field> fields);

/// What everybody who logs holds a reference to.
class Log {
  public:
    Log(std::unique_ptr<LogSink> sink, Level least) : sink_(std::move(sink)), least_(least) {}
    bool enabled(Level level) const { return level <= least_; }
    void write(Level level, std::string_view message, std::span<const Field> fields) {
        if (!enabled(level)) return;
        sink_->write(level, message, fields);
        if (!sink_->flush() && slow_) slow_();
    }
    void write(Level level, std::string_view message, std::initializer_list<Field> fields = {}) {
        write(level, message, std::span(fields.begin(), fields.size()));
    }

    /// Called when lines are left that flush() should try again.
    void on_slow_reader(std::function<void()> slow) { slow_ = std::move(slow); }
    bool flush() { return sink_->flush(); }

  private:
    std::unique_ptr<LogSink> sink_;
    std::function<void()> slow_;
    Level least_;
};

}  // namespace superd
