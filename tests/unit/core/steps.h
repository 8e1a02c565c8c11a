// SPDX-License-Identifier: MIT
#pragma once
// Real children and a real loop: what tests of child owners share.

#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <vector>

#include "catch.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "sys/alarm.h"
#include "sys/loop.h"

namespace superd::core::test {

struct Step {
    std::function<bool()> when;
    std::function<void()> then = [] {};
};

/// Runs the loop, once, until all steps have been taken one after the other. `each_time`: before they are looked at.
inline void take_steps(sys::Loop& loop, const std::vector<Step>& steps, const std::function<void()>& each_time) {
    const Instant end = now() + std::chrono::seconds(20);
    std::size_t at = 0;
    sys::Alarm tick(loop, [&] {
        each_time();
        while (at < steps.size() && steps[at].when()) steps[at++].then();
        if (at == steps.size() || now() >= end) return loop.exit(0);
        tick.set(now() + std::chrono::milliseconds(2));
    });
    tick.set(now());
    REQUIRE(loop.run());
    REQUIRE(at == steps.size());
}

/// Reaps all that have ended and tells their owners. `unknown`: one has ended that has no owner yet.
inline void reap_all(
    Engine& engine, const std::function<void()>& unknown = [] {}) {
    siginfo_t ended{};
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
        if (!engine.children.contains(ended.si_pid)) unknown();
        int status = 0;
        rusage used{};
        wait4(ended.si_pid, &status, 0, &used);
        if (const auto at = engine.children.find(ended.si_pid); at != engine.children.end()) {
            ChildOwner* const owner = at->second;
            engine.children.erase(at);
            owner->exited(ended.si_pid, status, used);
            owner->after_exit();
        }
        ended = {};
    }
}

}  // namespace superd::core::test
