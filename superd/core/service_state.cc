// SPDX-License-Identifier: MIT
// A running service over an upgrade.
#include <fmt/format.h>

#include <algorithm>

#include "core/service.h"
#include "core/service_cgroup.h"
#include "core/state.h"

namespace superd::core {

ServiceState Service::write_down(sys::Descriptors& descriptors) {
    ServiceState state;
    state.name = name_;
    state.withdrawn = withdrawn_;
    state.shut = shut_;
    state.wish = static_cast<int>(wish_);
    state.untouched = !traffic_;
    if (traffic_) traffic_->write_down(state, descriptors);
    if (warm_counts_) state.warm_counts = *warm_counts_;
    if (cgroup_) state.cgroup = cgroup_->write_down();
    if (peers_) state.sessions = peers_->sessions.write_down();
    if (current_) state.current = current_->write_down(descriptors);
    for (const auto& generation : former_) state.former.push_back(generation->write_down(descriptors));
    return state;
}

void Traffic::write_down(ServiceState& state, sys::Descriptors& descriptors) const {
    state.backing_off = retry.is_set();
    state.in_episode = episode.is_set();
    state.failing.assign(failing.begin(), failing.end());
    state.cannot_start = cannot_start;
    state.cannot_start_at = cannot_start_at;
    state.episode_tries = episode_tries;
    state.last_scarce = last_scarce;
    state.throttled_until = throttled_until;
    state.retry_at = retry.when().value_or(Instant{});
    state.backoff = backoff.place();
    state.throttle = throttle.place();
    state.stats = stats;
    state.errors = errors.write_down(descriptors);
    state.reply_failures = replies.failures().memory();
    state.intake = intake.write_down(descriptors);
}

Result<void> Traffic::go_on(const ServiceState& state, sys::Descriptors& descriptors) {
    failing.insert(state.failing.begin(), state.failing.end());
    cannot_start = state.cannot_start;
    cannot_start_at = state.cannot_start_at;
    episode_tries = state.episode_tries;
    last_scarce = state.last_scarce;
    throttled_until = state.throttled_until;
    backoff.go_on(state.backoff);
    throttle.go_on(state.throttle);
    stats = state.stats;
    if (auto done = errors.go_on(state.errors, descriptors); !done) return done;
    replies.failures().go_on(state.reply_failures);
    if (auto done = intake.go_on(state.intake, descriptors); !done) return done;
    if (state.backing_off) retry.set(state.retry_at);
    if (throttled_until > now()) throttle_timer.set(throttled_until);
    if (state.in_episode) episode.set(now());
    return {};
}

Result<void> Service::go_on(const ServiceState& state, const conf::Service* defined, std::vector<Port*> ports,
                            sys::Descriptors& descriptors) {
    if (state.wish < 0 || state.wish > static_cast<int>(Wish::drained))
        return fail(fmt::format("{}: {} is not a state of a service", name_, state.wish));
    ports_ = std::move(ports);
    for (std::size_t i = 0; i < ports_.size(); ++i) ports_[i]->belong(this, i);
    withdrawn_ = state.withdrawn;
    shut_ = state.shut;
    wish_ = static_cast<Wish>(state.wish);
    if (!state.untouched) (void)traffic();
    if (state.warm_counts) warm_counts_ = std::make_unique<WarmCounts>(*state.warm_counts);
    if (state.current)
        configure(state.current->definition);
    else if (traffic_ && !state.former.empty())
        traffic_->errors.configure(state.former.back().definition.stderr_rate);
    if (state.cgroup && engine_.cgroups != nullptr) make_cgroup().go_on(*state.cgroup);
    if (traffic_)
        if (auto done = traffic_->go_on(state, descriptors); !done) return done;
    if (state.sessions)
        if (auto done = peers().sessions.go_on(*state.sessions); !done) return done;

    const auto generation_of = [&](const GenerationState& from) -> Result<std::unique_ptr<Generation>> {
        const bool is_defined = defined != nullptr && *defined == from.definition;
        const conf::Service& definition = is_defined ? *defined : keep(own(from.definition));
        auto generation = std::make_unique<Generation>(engine_, *this, definition, from.listeners);
        if (auto done = generation->go_on(from, descriptors); !done) return std::unexpected(done.error());
        return generation;
    };
    for (const GenerationState& from : state.former) {
        auto generation = generation_of(from);
        if (!generation) return std::unexpected(generation.error());
        former_.push_back(std::move(*generation));
    }
    if (state.current) {
        auto generation = generation_of(*state.current);
        if (!generation) return std::unexpected(generation.error());
        current_ = std::move(*generation);
    }
    return {};
}

void Service::take_up() {
    if (const conf::Service* definition = this->definition(); cgroup_) {
        if (definition != nullptr) cgroup_->configure(*definition);
        cgroup_->take_up();
    }
    if (peers_) {
        if (const conf::Service* definition = this->definition()) peers_->sessions.configure(*definition);
        peers_->sessions.take_up();
    }
    if (current_) {
        set_gates();
        current_->take_up();
        // The superd-tls of this release, for all clients that come from now on.
        if (current_->definition().tls->on) begin_anew();
        if (wish_ == Wish::open && !withdrawn_) current_->resume();
    }
    reconcile();
    tidy();
}

}  // namespace superd::core
