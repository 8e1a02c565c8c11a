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

    /// With RST, by SO_LINGER with no time. socket(7)
    static void reset(sys::GuardedFd connection);
    /// Sends `text`, if any, and FIN. A close with unread data would send an RST that may overtake both, so this reads
    /// and drops what the client has sent, for up to kLinger if it keeps sending.
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
    std::list<Entry> leaving_;  ///< ordered by `until`
};

}  // namespace superd::intake
