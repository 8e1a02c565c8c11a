// SPDX-License-Identifier: MIT
#pragma once
// How clients that are not served are let go.

#include <list>
#include <optional>
#include <string_view>

#include "sys/loop.h"
#include "sys/passed_rights.h"

namespace superd::intake {

class Farewell {
  public:
    explicit Farewell(sys::Loop& loop) : loop_(loop) {}
    Farewell(const Farewell&) = delete;

    /// With RST, by SO_LINGER of no time. socket(7)
    static void reset(sys::GuardedFd connection);
    /// Sends `text`, if any, and FIN. A close with unread data would be a RST that may overtake both, so what the
    /// client has sent is read away, for up to kLinger where it goes on sending.
    void close(sys::GuardedFd connection, std::string_view text, Instant now);
    /// When the first has lingered long enough; expire() is due then.
    std::optional<Instant> ends_at() const;
    void expire(Instant now);

    static constexpr Duration kLinger = std::chrono::seconds(1);
    static constexpr std::size_t kMost = 64;

  private:
    struct Entry {
        sys::GuardedFd connection;
        Instant until;
        sys::Source source;
    };

    sys::Loop& loop_;
    std::list<Entry> leaving_;  ///< in the order of `until`
};

}  // namespace superd::intake
