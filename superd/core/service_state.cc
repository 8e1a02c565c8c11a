// SPDX-License-Identifier: MIT
// A running service over an upgrade.
#include <fmt/format.h>

#include <algorithm>

#include "core/service.h"
#include "core/state.h"

namespace superd::core {

bool Service::settled() const {
    return (!current_ || current_->settled()) && std::ranges::all_of(former_, &Generation::settled);
}

ServiceState Service::write_down(sys::Descriptors& descriptors) {
    ServiceState state;
    state.name = name_;
    state.withdrawn = withdrawn_;
    state.shut = shut_;
    state.backing_off = retry_.is_set();
    state.in_episode = episode_.is_set();
    state.hold = static_cast<int>(hold_);
    state.bad_starts = bad_starts_;
    state.cannot_start = cannot_start_;
    state.cannot_start_at = cannot_start_at_;
    state.episode_tries = episode_tries_;
    state.last_scarce = last_scarce_;
    state.throttled_until = throttled_until_;
    state.retry_at = retry_.when().value_or(Instant{});
    state.backoff = backoff_.place();
    state.throttle = throttle_.place();
    state.stats = stats_;
    if (warm_counts_) state.warm_counts = *warm_counts_;
    state.errors = errors_.write_down(descriptors);
    state.reply_failures = replies_.failures().memory();
    state.intake = intake_.write_down(descriptors);
    if (current_) state.current = current_->write_down(descriptors);
    for (const auto& generation : former_) state.former.push_back(generation->write_down(descriptors));
    return state;
}

Result<void> Service::go_on(const ServiceState& state, const conf::Service* defined, std::vector<Port*> ports,
                            sys::Descriptors& descriptors) {
    if (state.hold < 0 || state.hold > static_cast<int>(Hold::drained))
        return fail(fmt::format("{}: {} is no state of a service", name_, state.hold));
    ports_ = std::move(ports);
    for (std::size_t i = 0; i < ports_.size(); ++i) ports_[i]->belong(this, i);
    withdrawn_ = state.withdrawn;
    shut_ = state.shut;
    hold_ = static_cast<Hold>(state.hold);
    bad_starts_ = state.bad_starts;
    cannot_start_ = state.cannot_start;
    cannot_start_at_ = state.cannot_start_at;
    episode_tries_ = state.episode_tries;
    last_scarce_ = state.last_scarce;
    throttled_until_ = state.throttled_until;
    backoff_.go_on(state.backoff);
    throttle_.go_on(state.throttle);
    stats_ = state.stats;
    if (state.warm_counts) warm_counts_ = std::make_unique<WarmCounts>(*state.warm_counts);
    if (state.current)
        configure(state.current->definition);
    else if (!state.former.empty())
        errors_.configure(state.former.back().definition.stderr_rate);
    if (auto done = errors_.go_on(state.errors, descriptors); !done) return done;
    if (auto done = replies_.failures().go_on(state.reply_failures); !done) return done;
    if (auto done = intake_.go_on(state.intake, descriptors); !done) return done;

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

    Result<void> set;
    if (state.backing_off) set = retry_.set(state.retry_at);
    if (set && throttled()) set = throttle_timer_.set(throttled_until_);
    if (set && state.in_episode) set = episode_.set(now());
    return set;
}

void Service::take_up() {
    if (current_) {
        set_gates();
        current_->take_up();
        if (hold_ == Hold::open && !withdrawn_) current_->resume();
    }
    reconcile();
    tidy();
}

}  // namespace superd::core
