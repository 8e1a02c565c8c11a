// SPDX-License-Identifier: MIT
#pragma once
// What the launcher of a definition asks of its generation.

#include <memory>

#include "core/generation.h"
#include "core/launcher.h"

namespace superd::core {

struct Generation::Launches final : Launcher::Host {
    explicit Launches(Generation& whose) : generation(whose), launcher(whose.engine_, *this, whose.definition_) {}

    Result<pid_t> start(ChildOwner& owner, sys::Fd channel) override;
    void serves(pid_t pid, model::Client client) override;
    bool not_executed(pid_t pid, int code, sys::GuardedFd connection) override;
    void serve_directly(model::Client client) override;
    void left() override { generation.host_.child_left(generation); }

    Generation& generation;
    bool direct = false;   ///< a client goes past the launcher just now
    bool stopped = false;  ///< nobody new is served, and a handler that is heard of only now is to leave
    std::unique_ptr<proc::ExecPlan> plan;
    Launcher launcher;
};

}  // namespace superd::core
