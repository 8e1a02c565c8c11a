// SPDX-License-Identifier: MIT
#pragma once
// What there is of a running service once it has had a client, or a worker: counts, the way in, what handlers write,
// and what is scarce. Thousands of services never have one.

#include <set>
#include <string>

#include "base/backoff.h"
#include "core/error_stream.h"
#include "core/replies.h"
#include "core/stats.h"
#include "intake/intake.h"
#include "sys/alarm.h"

namespace superd::core {

struct ServiceState;

struct Traffic {
    /// `again`: what was scarce may be there again, or handlers start again. `over`: so much time without a failed try.
    Traffic(Engine& engine, const std::string& service, intake::Host& host, const sys::Loop::Handler& again,
            sys::Loop::Handler over)
        : errors(engine, service, stats),
          replies(engine, service, stats),
          intake(engine.loop, engine.log, service, host, engine.everywhere),
          wake(engine.loop, [this] { intake.woken(); }),
          episode(engine.loop, std::move(over)),
          retry(engine.loop, again),
          throttle_timer(engine.loop, again) {}

    void configure(const conf::Service& definition) {
        intake.configure(definition);
        errors.configure(definition.stderr_rate);
    }
    /// Over an upgrade: its part of the service's state. After configure().
    void write_down(ServiceState& state, sys::Descriptors& descriptors) const;
    Result<void> go_on(const ServiceState& state, sys::Descriptors& descriptors);

    Stats stats;
    ErrorStream errors;
    Replies replies;
    intake::Intake intake;
    sys::Alarm wake;  ///< for the intake
    Backoff backoff{std::chrono::milliseconds(10), std::chrono::seconds(1)};
    Instant last_scarce{};
    unsigned episode_tries = 0;
    sys::Alarm episode;  ///< of scarcity: logged once, and once when it is over
    Backoff throttle{std::chrono::milliseconds(10), std::chrono::milliseconds(900)};
    Instant throttled_until{};
    std::string cannot_start;            ///< why no handler reaches its program; empty: one has, or none was needed
    Instant cannot_start_at{};           ///< when the last one that did not was started
    std::set<admit::SourceKey> failing;  ///< whose handlers have failed as they started, since one has started well
    sys::Alarm retry, throttle_timer;
};

}  // namespace superd::core
