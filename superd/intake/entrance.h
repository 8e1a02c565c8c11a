// SPDX-License-Identifier: MIT
#pragma once
// Clients between accept and admission: see intake/stage.h.
//
// They cost a descriptor each and are no instances yet, so their number is bounded: for each source, and in all. When
// all places are taken, whoever has waited longest among those of the source that has the most gives way, if it has had
// kGrace: a flood of connections that say nothing shuts nobody out.

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "admit/sources.h"
#include "intake/stage.h"
#include "sys/loop.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::intake {

struct EntrantState;

/// Everything that the entrance may ask of its intake.
class EntranceHost {
  public:
    virtual ~EntranceHost() = default;
    /// nullptr: there is no such stage any more.
    virtual Stage* stage(Stage::Id id) = 0;
    virtual void has_passed(model::Client client, Stage::Id from) = 0;
    /// `source`: as it came. `its_fault`: not for want of places.
    virtual void has_failed(model::Client client, const admit::SourceKey& source, admit::Refusal why, bool its_fault,
                            std::string_view more) = 0;
    /// Something has passed or failed by itself, and not within enter().
    virtual void moved() = 0;
    virtual void cannot_watch(const Error& why) = 0;
};

class Entrance {
  public:
    Entrance(sys::Loop& loop, EntranceHost& host) : loop_(loop), host_(host) {}
    Entrance(const Entrance&) = delete;

    /// Where a client begins.
    struct Entry {
        Stage& stage;
        admit::SourceKey source;   ///< what it is counted as
        bool free = false;         ///< from the bound for each source
        bool despite_all = false;  ///< from that in all
    };
    /// has_passed() or has_failed() is called at once, or later.
    void enter(model::Client client, const Entry& entry, Instant now);
    /// nullptr: it has gone meanwhile.
    Entrant* find(Ticket ticket);
    /// Its time counts from now: until now it waited for its stage.
    void begins_now(Ticket ticket, Instant now);
    /// For one that is elsewhere.
    void passed(Ticket ticket);
    void failed(Ticket ticket, admit::Refusal why, std::string_view more);
    /// All in this stage fail; nullopt: in all of them.
    void dismiss(std::optional<Stage::Id> stage, admit::Refusal why, std::string_view more);

    /// When the next may enter, if none may now.
    std::optional<Instant> opens_at(Instant now) const;
    /// When the first of them has had its time; expire() is due then.
    std::optional<Instant> ends_at() const;
    void expire(Instant now);
    /// At those that could not be watched.
    void look_again();

    std::size_t size() const { return all_.size(); }
    std::size_t of_source(const admit::SourceKey& source) const;
    void clear();

    std::vector<EntrantState> write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const std::vector<EntrantState>& state, Ticket next, sys::Descriptors& descriptors);
    Ticket next() const { return next_; }

    static constexpr std::size_t kOfOneSource = 64;
    static constexpr std::size_t kInAll = 1024;
    static constexpr Duration kGrace = std::chrono::milliseconds(200);

  private:
    struct Waiting {
        Entrant entrant;
        Stage::Id stage = Stage::kHeader;
        admit::SourceKey source;
        std::size_t* count = nullptr;  ///< of its source, in counts_
        Instant since{}, until{};
        bool wants_bytes = false;
        sys::Source readable;
    };
    using All = std::map<Ticket, Waiting>;  ///< in the order in which they came

    All::iterator add(Waiting waiting);
    void go_on_with(All::iterator at, Stage& stage);
    bool watch(Waiting& waiting);
    /// Takes it out; its stage does not hear of it.
    Waiting leave(All::iterator at);
    /// Its stage hears of it.
    void give_up(All::iterator at, admit::Refusal why, bool its_fault, std::string_view more);
    /// It has had its time: it passes or fails now.
    void end_time_of(All::iterator at);
    /// Whoever gives way to another. end(): nobody yet.
    All::iterator weakest(Instant now);

    sys::Loop& loop_;
    EntranceHost& host_;
    std::map<admit::SourceKey, std::size_t> counts_;
    All all_;
    Ticket next_ = 1;
    bool unwatched_ = false;  ///< some that want bytes may be
};

}  // namespace superd::intake
