// SPDX-License-Identifier: MIT
#pragma once
// Who is let in: counts and rates of a service and of each of its sources. Pure: no sockets, and `now` is a parameter.

#include <optional>
#include <utility>

#include "admit/refusal.h"
#include "admit/sources.h"
#include "conf/service.h"

namespace superd::admit {

class Admission;

/// One handler's place in the service's count and in its source's. The destructor gives it back, so no error path can
/// lose it.
class Charge {
  public:
    Charge() = default;
    Charge(Charge&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)), source_(std::exchange(other.source_, Sources::kNone)) {}
    Charge& operator=(Charge&& other) noexcept {
        std::swap(admission_, other.admission_);
        std::swap(source_, other.source_);
        return *this;
    }
    ~Charge();
    /// The client could not be served after all: give its tokens back as well.
    void undo() &&;
    /// The source that it counts for; kind none if it counts for none. nullopt: this charge holds no place.
    std::optional<SourceKey> source() const;

  private:
    friend class Admission;
    Charge(Admission* admission, Sources::Index source) : admission_(admission), source_(source) {}
    Admission* admission_ = nullptr;
    Sources::Index source_ = Sources::kNone;
};

/// Outlives the charges it hands out: it belongs to the running service, not to a definition, so counts survive
/// reloads.
class Admission {
  public:
    Admission() = default;
    Admission(const Admission&) = delete;
    ~Admission();

    /// New limits apply from the next client on; handlers over a lowered limit finish.
    void configure(const conf::Limits& limits, Instant now);

    /// Is there a place among `instances`?
    bool has_room() const { return in_use_ < limits_.instances; }
    /// When the service's rate lets the next client in; in the past: now.
    Instant rate_opens_at() const;

    /// per_source or per_source_rate, if it keeps out a client of this source now.
    std::optional<Refusal> refuses(const SourceKey& source, Instant now) const;
    /// When per_source_rate lets the next client of this source in.
    Instant source_opens_at(const SourceKey& source) const;

    /// What this source has earned here. nullptr: nothing.
    const Debt* debt(const SourceKey& source) const;
    void penalise(const SourceKey& source, Duration amount, const conf::Penalty& rules, Instant now);

    /// Takes a place and tokens without looking whether there are any: the caller has looked. Sources are counted with
    /// or without a limit, since a reload may bring one. A `source` of kind none counts for no source.
    Charge charge(const SourceKey& source, Instant now);

    /// A handshake of this source came to nothing. per_source_rate bounds these for themselves: they start no handler,
    /// but cost as much as one that does.
    void unfinished(const SourceKey& source, Instant now);
    /// Have there been fewer than per_source_rate allows? `under_way`: handshakes of this source. Once some have come
    /// to nothing, these are expected to, or all would begin at once whenever a token is there.
    bool may_shake(const SourceKey& source, Instant now, std::size_t under_way) const;

    /// What it remembers besides the places, so that another process can continue.
    struct Memory {
        Instant full_at, latest;
        std::vector<std::pair<SourceKey, Instant>> sources;  ///< with the time at which each bucket is full
        std::vector<Owed> owed;
        std::vector<std::pair<SourceKey, Instant>> unfinished = {};  ///< handshakes, in the same way
    };
    Memory memory() const;
    void remember(const Memory& memory);
    /// A place that was taken earlier: takes no token.
    Charge recharge(const SourceKey& source);

    int in_use() const { return in_use_; }
    int instances() const { return limits_.instances; }
    const conf::Limits& limits() const { return limits_; }
    const Sources& sources() const { return sources_; }

  private:
    friend class Charge;
    void leave(Sources::Index source);

    conf::Limits limits_;
    int in_use_ = 0;
    Bucket bucket_;
    Sources sources_;
    Instant latest_{};  ///< the latest `now` that was passed in
};

}  // namespace superd::admit
