// SPDX-License-Identifier: MIT
#pragma once
// What a service's handlers write to stderr, as lines in the log: one stream for all of them.

#include <string>
#include <string_view>

#include "admit/bucket.h"
#include "core/engine.h"
#include "core/episode.h"
#include "core/stats.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::core {

struct ErrorStreamState;

class ErrorStream {
  public:
    ErrorStream(Engine& engine, std::string service, Stats& stats);
    ErrorStream(const ErrorStream&) = delete;
    ~ErrorStream();
    /// Reads and drops lines over this rate: no handler waits for room in its stderr.
    void configure(const conf::Rate& rate);

    /// A descriptor for a handler's stderr. The first call makes the pipe.
    Result<sys::Fd> writer();

    ErrorStreamState write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const ErrorStreamState& state, sys::Descriptors& descriptors);

    static constexpr std::size_t kLongestLine = 2048;
    /// An unfinished line is written after this time.
    static constexpr Duration kPatience = std::chrono::milliseconds(500);

  private:
    Result<void> watch(sys::Fd read, sys::Fd write);
    bool read_some();
    void take(std::string_view bytes);
    void take_lines(std::string_view bytes, Instant time);
    void take_partial(Instant time);
    /// Writes it, or counts it in `over_`.
    void write_line(std::string_view line, Instant time);
    void write_partial(Instant time);
    void note_dropped(Instant time);

    Engine& engine_;
    std::string service_;
    Stats& stats_;
    conf::Rate rate_;
    admit::Bucket bucket_;
    Episode dropped_;
    sys::Fd read_, write_;
    sys::Source source_;
    std::string partial_;
    std::uint64_t over_ = 0;  ///< lines of this moment that are over the rate
    sys::Alarm patience_;     ///< for a line without an end
};

}  // namespace superd::core
