// SPDX-License-Identifier: MIT
#pragma once
// The log: one record an event, a sentence for people and fields for programs.

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
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
    /// `all`: records that no reader will ever see. `untold`: those of them that the log does not tell of yet.
    struct Lost {
        std::uint64_t all = 0, untold = 0;
    };
    virtual Lost lost() const { return {}; }
    /// The same as if what still waits were lost too.
    virtual Lost lost_with_pending() const { return lost(); }
    /// Goes on with another's count.
    virtual void add_lost(Lost) {}
};

/// The queue before every reader, whatever its records look like. A reader that does not keep up never holds the loop:
/// up to kMostPending bytes wait for it; records past them are lost, counted, and the count is logged once there is
/// room again.
class QueuedSink : public LogSink {
  public:
    void write(Level level, std::string_view message, std::span<const Field> fields) final;
    bool flush() final;
    Lost lost() const final { return lost_; }
    Lost lost_with_pending() const final;
    void add_lost(Lost before) final;

    static constexpr std::size_t kMostPending = 1 << 20;

  protected:
    virtual std::string encode(Level level, std::string_view message, std::span<const Field> fields) = 0;
    /// Offers a record, or what is left of it, without waiting. How many bytes of it were taken; 0: none now.
    /// nullopt: it never will be.
    virtual std::optional<std::size_t> offer(std::string_view record) = 0;

  private:
    struct Record {
        std::string text;
        std::uint64_t tells_of = 0;  ///< of so many that were lost; 0: of an event
    };
    void push(Record record);
    void pop();

    std::deque<Record> pending_;
    std::size_t bytes_ = 0;  ///< of pending_
    std::size_t done_ = 0;   ///< of its first
    Lost lost_;
};

enum class LogStyle { text, logfmt, json };

/// The time now as format_record() puts it in front.
std::string clock_text(LogStyle style);

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
    const LogSink& sink() const { return *sink_; }
    void add_lost(LogSink::Lost before) { sink_->add_lost(before); }

  private:
    std::unique_ptr<LogSink> sink_;
    std::function<void()> slow_;
    Level least_;
};

}  // namespace superd
