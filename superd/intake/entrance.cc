// SPDX-License-Identifier: MIT
#include "intake/entrance.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <new>

#include "intake/state.h"
#include "sys/descriptors.h"

namespace superd::intake {

using admit::Refusal;

Entrance::All::iterator Entrance::add(Waiting waiting) {
    waiting.count = &counts_[waiting.source];
    const Ticket ticket = waiting.entrant.ticket;
    const auto at = all_.emplace(ticket, std::move(waiting)).first;
    ++*at->second.count;
    return at;
}

Entrance::Waiting Entrance::leave(All::iterator at) {
    Waiting waiting = std::move(at->second);
    all_.erase(at);
    waiting.readable = {};
    if (--*waiting.count == 0) counts_.erase(waiting.source);
    return waiting;
}

std::size_t Entrance::of_source(const admit::SourceKey& source) const {
    const auto at = counts_.find(source);
    return at != counts_.end() ? at->second : 0;
}

void Entrance::enter(model::Client client, const Entry& entry, Instant now) {
    if (!entry.free && of_source(entry.source) >= kOfOneSource)
        return host_.has_failed(std::move(client), entry.source, Refusal::pending, true,
                                fmt::format(": {} of its source are", kOfOneSource));
    if (all_.size() >= kInAll && !entry.despite_all) {
        const auto other = weakest(now);
        if (other == all_.end())
            return host_.has_failed(std::move(client), entry.source, Refusal::pending, false,
                                    fmt::format(": {} are", all_.size()));
        give_up(other, Refusal::pending, false, ": another needs its place");
    }
    Waiting waiting;
    waiting.entrant = {next_++, std::move(client), {}};
    waiting.stage = entry.stage.id();
    waiting.source = entry.source;
    waiting.since = now;
    waiting.until = now + entry.stage.timeout();
    waiting.wants_bytes = true;
    const auto at = add(std::move(waiting));
    try {
        go_on_with(at, entry.stage);
    } catch (const std::bad_alloc&) {
        unwatched_ = true;  // it is here, and its turn comes again
        throw;
    }
}

void Entrance::go_on_with(All::iterator at, Stage& stage) {
    const Progress progress = stage.go_on(at->second.entrant);
    at->second.wants_bytes = progress.kind == Progress::Kind::readable;
    switch (progress.kind) {
        case Progress::Kind::readable:
            watch(at->second);
            return;
        case Progress::Kind::elsewhere:
            at->second.readable = {};
            return;
        case Progress::Kind::passed: {
            const Stage::Id from = at->second.stage;
            return host_.has_passed(leave(at).entrant.client, from);
        }
        case Progress::Kind::failed: {
            Waiting gone = leave(at);
            return host_.has_failed(std::move(gone.entrant.client), gone.source, progress.why, true, progress.more);
        }
    }
}

bool Entrance::watch(Waiting& waiting) {
    if (waiting.readable) return true;
    const Ticket ticket = waiting.entrant.ticket;
    auto source =
        loop_.io(waiting.entrant.client.connection.get(), EPOLLIN | EPOLLRDHUP, [this, ticket](std::uint32_t) {
            const auto at = all_.find(ticket);
            if (at == all_.end()) return;
            const std::size_t before = all_.size();
            if (Stage* const stage = host_.stage(at->second.stage))
                go_on_with(at, *stage);
            else
                give_up(at, Refusal::gone, false, "");
            if (all_.size() != before) host_.moved();
        });
    if (source) {
        waiting.readable = std::move(*source);
        return true;
    }
    unwatched_ = true;
    host_.cannot_watch(source.error());
    return false;
}

void Entrance::look_again() {
    if (!unwatched_) return;
    for (auto& [ticket, waiting] : all_)
        if (waiting.wants_bytes && waiting.entrant.client.connection && !watch(waiting)) return;
    unwatched_ = false;
}

Entrant* Entrance::find(Ticket ticket) {
    const auto at = all_.find(ticket);
    return at != all_.end() ? &at->second.entrant : nullptr;
}

void Entrance::begins_now(Ticket ticket, Instant now) {
    const auto at = all_.find(ticket);
    if (at == all_.end()) return;
    if (Stage* const stage = host_.stage(at->second.stage)) at->second.until = now + stage->timeout();
}

void Entrance::passed(Ticket ticket) {
    const auto at = all_.find(ticket);
    if (at == all_.end()) return;
    const Stage::Id from = at->second.stage;
    host_.has_passed(leave(at).entrant.client, from);
    host_.moved();
}

void Entrance::failed(Ticket ticket, Refusal why, std::string_view more) {
    const auto at = all_.find(ticket);
    if (at == all_.end()) return;
    Waiting gone = leave(at);
    host_.has_failed(std::move(gone.entrant.client), gone.source, why, true, more);
    host_.moved();
}

void Entrance::give_up(All::iterator at, Refusal why, bool its_fault, std::string_view more) {
    Waiting gone = leave(at);
    if (Stage* const stage = host_.stage(gone.stage)) stage->forget(gone.entrant);
    host_.has_failed(std::move(gone.entrant.client), gone.source, why, its_fault, more);
}

void Entrance::dismiss(std::optional<Stage::Id> stage, Refusal why, std::string_view more) {
    for (auto at = all_.begin(); at != all_.end();) {
        const auto one = at++;
        if (!stage || one->second.stage == *stage) give_up(one, why, false, more);
    }
}

Entrance::All::iterator Entrance::weakest(Instant now) {
    auto found = all_.end();
    for (auto at = all_.begin(); at != all_.end() && at->second.since + kGrace <= now; ++at)
        if (found == all_.end() || *at->second.count > *found->second.count) found = at;
    return found;
}

std::optional<Instant> Entrance::opens_at(Instant now) const {
    if (all_.size() < kInAll) return std::nullopt;
    const Instant opens = all_.begin()->second.since + kGrace;
    return opens > now ? std::optional(opens) : std::nullopt;
}

std::optional<Instant> Entrance::ends_at() const {
    const auto first = std::ranges::min_element(all_, {}, [](const auto& one) { return one.second.until; });
    return first == all_.end() ? std::nullopt : std::optional(first->second.until);
}

void Entrance::expire(Instant now) {
    look_again();
    for (auto at = all_.begin(); at != all_.end();) {
        const Ticket ticket = at->first;
        if (at->second.until <= now) end_time_of(at);
        at = all_.upper_bound(ticket);  // it may have been let in, and others with it
    }
}

void Entrance::end_time_of(All::iterator at) {
    const Ticket ticket = at->first;
    Stage* const stage = host_.stage(at->second.stage);
    // What has come in time counts, however long the loop was busy with something else.
    if (stage != nullptr && at->second.wants_bytes && at->second.entrant.client.connection) {
        go_on_with(at, *stage);
        at = all_.find(ticket);
        if (at == all_.end()) return;
    }
    give_up(at, stage != nullptr ? stage->overdue(at->second.entrant) : Refusal::gone, true, "");
}

void Entrance::clear() {
    while (!all_.empty()) {
        const Waiting gone = leave(all_.begin());
        if (Stage* const stage = host_.stage(gone.stage)) stage->forget(gone.entrant);
    }
}

std::vector<EntrantState> Entrance::write_down(sys::Descriptors& descriptors) const {
    std::vector<EntrantState> state;
    for (const auto& [ticket, one] : all_)
        state.push_back({state_of(one.entrant.client, descriptors), one.source, ticket, one.stage, one.entrant.memory,
                         one.wants_bytes, one.since, one.until});
    return state;
}

Result<void> Entrance::go_on(const std::vector<EntrantState>& state, Ticket next, sys::Descriptors& descriptors) {
    next_ = next;
    for (const EntrantState& one : state) {
        Waiting waiting;
        waiting.entrant = {one.ticket, client_of(one.client, descriptors), one.memory};
        waiting.entrant.client.kind = model::Client::Kind::connection;  // its stage may have the connection
        waiting.stage = one.stage;
        waiting.source = one.source;
        waiting.since = one.since;
        waiting.until = one.until;
        waiting.wants_bytes = one.wants_bytes;
        if (one.wants_bytes && !waiting.entrant.client.connection)
            return fail("the connection of a client that is not known yet is missing");
        if (one.ticket >= next_ || all_.contains(one.ticket)) return fail("two clients have one ticket");
        const auto at = add(std::move(waiting));
        if (one.wants_bytes) watch(at->second);
    }
    return {};
}

}  // namespace superd::intake
