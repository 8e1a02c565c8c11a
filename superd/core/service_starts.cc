// SPDX-License-Identifier: MIT
// A service whose handlers cannot be started, for now or at all, or fail as soon as they start.
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "core/service.h"

namespace superd::core {
namespace {

/// If the handlers of so many sources in a row fail at once, they count as not starting at all. One source may be the
/// reason itself.
constexpr std::size_t kBadStarts = 20;

/// After this long without a failed try, the shortage is over.
constexpr Duration kEpisodeEnds = std::chrono::seconds(10);

admit::Refusal refusal_for(int code) {
    return code == EMFILE || code == ENFILE ? admit::Refusal::no_descriptors : admit::Refusal::no_processes;
}

}  // namespace

void Service::back_off(const Error& why) {
    if (!backing_off()) {
        traffic().retry.set(now() + traffic_->backoff.next());
        reconcile();
    }
    note_scarcity(why);  // last: where there is no memory for the line, all else is done
}

void Service::could_not_add(const Error& why) {
    note_scarcity(why);
}

void Service::note_scarcity(const Error& why) {
    Traffic& of_it = traffic();
    of_it.intake.count(refusal_for(why.code));
    ++of_it.episode_tries;
    of_it.last_scarce = now();
    if (of_it.episode.is_set()) return;
    engine_.log.write(
        Level::warning,
        fmt::format("cannot start as many handlers as clients need: {}; clients wait, none is lost", why.text),
        {{"SERVICE", name_}, {"ERRNO", why.code}});
    of_it.episode.set(now() + kEpisodeEnds);
}

void Service::end_episode() {
    const Instant ends = traffic_->last_scarce + kEpisodeEnds;
    if (now() < ends) return traffic_->episode.set(ends);
    const unsigned tries = std::exchange(traffic_->episode_tries, 0);
    engine_.log.write(Level::notice,
                      fmt::format("starting handlers as clients need them again; {} tries had failed", tries),
                      {{"SERVICE", name_}, {"TRIES", tries}});
}

void Service::retry() {
    traffic_->retry.clear();
    if (peers_) peers_->scarce = false;
    reconcile();
    tidy();
}

void Service::started() {
    ++traffic().stats.started;
    traffic_->backoff.reset();
}

void Service::could_not_start(Instant began, std::string why) {
    traffic().cannot_start = std::move(why);
    traffic_->cannot_start_at = began;
}

// Handlers from before the failure do not count, however late they end.
void Service::has_started(Instant began) {
    if (traffic_ && began > traffic_->cannot_start_at) traffic_->cannot_start.clear();
}

void Service::started_well() {
    Traffic& of_it = traffic();
    of_it.failing.clear();
    if (of_it.throttle.tries() == 0 || throttled()) return;
    engine_.log.write(Level::notice, "handlers start again", {{"SERVICE", name_}});
    of_it.throttle.reset();
}

void Service::started_badly(const std::optional<admit::SourceKey>& client) {
    Traffic& of_it = traffic();
    if (client) {
        of_it.failing.insert(*client);
        if (of_it.failing.size() < kBadStarts) return;
    }
    of_it.failing.clear();
    if (throttled()) return;
    if (of_it.throttle.tries() == 0)
        engine_.log.write(Level::warning,
                          "handlers fail as soon as they start; clients are slowed down until one works",
                          {{"SERVICE", name_}});
    of_it.throttled_until = now() + of_it.throttle.next();
    of_it.throttle_timer.set(of_it.throttled_until);
    reconcile();
}

void Service::offended(const sys::Address& peer, const admit::SourceKey& source, admit::Offence what) {
    // Not only while clients wait: until a handler works, it is not known whose fault it is.
    const bool failing = traffic().throttle.tries() > 0;
    if (!failing && !backing_off()) traffic_->intake.penalise(peer, source, what);
}

}  // namespace superd::core
