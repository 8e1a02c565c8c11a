// SPDX-License-Identifier: MIT
#pragma once
// The log: one record for each event, with a sentence for people and fields for programs.

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

/// nullptr where the name is not error, warning, notice, info or debug.
const char* name_of(Level);
bool parse_level(std::string_view name, Level& level);

/// A field of a record. Names are upper case, as in the journal.
struct Field {
    Field(std::string_view n, std::string_view v) : name(n), value(v) {}
    template <class Int>
    requires std::is_integral_v<Int> Field(std::string_view n, Int v)
        : name(n), value(std::to_string(v)), number(true) {}
    std::string_view name;
    std::string value;
    bool number = false;
};

/// Where records go. Nothing passed to a sink is escaped yet: each sink escapes in its own way.
class LogSink {
  public:
    virtual ~LogSink() = default;
    virtual void write(Level level, std::string_view message, std::span<const Field> fields) = 0;
    /// Writes what a slow reader has not taken yet. False: some is left.
    virtual bool flush() { return true; }
    /// `all`: records that no reader will ever see. `untold`: how many of these the log has not reported yet.
    struct Lost {
        std::uint64_t all = 0, untold = 0;
    };
    virtual Lost lost() const { return {}; }
    /// The same, counting pending records as lost too.
    virtual Lost lost_with_pending() const { return lost(); }
    /// Adds a predecessor's count.
    virtual void add_lost(Lost) {}
};

/// The queue in front of every reader, whatever its records look like. A slow reader never holds the loop: up to
/// kMostPending bytes wait for it. Records past that are lost and counted, and the count is logged once there is room
/// again.
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
    /// Offers a record, or the rest of one, without waiting. Returns how many bytes were taken; 0: none now. nullopt:
    /// it can never be taken.
    virtual std::optional<std::size_t> offer(std::string_view record) = 0;

  private:
    struct Record {
        std::string text;
        std::uint64_t tells_of = 0;  ///< how many lost records it reports; 0: it is an event
    };
    void push(Record record);
    void pop();

    std::deque<Record> pending_;
    std::size_t bytes_ = 0;  ///< in pending_
    std::size_t done_ = 0;   ///< already taken of its first record
    Lost lost_;
};

enum class LogStyle { text, logfmt, json };

/// The time now, as format_record() puts it in front.
std::string clock_text(LogStyle style);

/// One record as a line in its style, without the newline; `clock` goes in front.
std::string format_record(LogStyle style, std::string_view clock, Level level, std::string_view message,
                          std::span<const Field> fields);

/// Everyone who logs holds a reference to this.
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

    /// Called when there are lines left for flush() to retry.
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
