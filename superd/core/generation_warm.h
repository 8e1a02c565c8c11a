// SPDX-License-Identifier: MIT
#pragma once
// What the warm handlers of a definition ask of its generation.

#include <memory>

#include "core/generation.h"
#include "core/leaf_mover.h"
#include "core/warm.h"

namespace superd::core {

struct Generation::Warmth final : Warm::Host {
    explicit Warmth(Generation& whose)
        : generation(whose),
          warm(whose.engine_, *this, whose.definition_),
          mover(
              whose.engine_, [this](pid_t pid, bool there) { moved(pid, there); }, [this] { left(); }) {}

    Result<pid_t> start(ChildOwner& owner, sys::Fd channel) override;
    bool is_ready() const override { return generation.has_all_sockets() && generation.has_sandbox(); }
    bool waits(std::unique_ptr<proc::WarmProcess> process, pid_t copy_of) override;
    void stale() override;
    void serves(pid_t pid, pid_t copy_of, model::Client client) override;
    void serve_cold(model::Client client) override {
        if (!stopped) (void)generation.serve(std::move(client));
    }
    model::Model& model() override { return *generation.model_; }
    void could_not_add(const Error& why) override { generation.host_.could_not_add(why); }
    void left() override { generation.host_.child_left(generation); }
    WarmCounts& counts() override { return generation.host_.warm_counts(); }

    /// A parked process is in its leaf, or could not be moved there.
    void moved(pid_t pid, bool there);
    /// Those that are on their way there leave.
    void let_go();

    Generation& generation;
    bool stopped = false;  ///< nobody new is served, and a copy that is heard of only now is to leave
    std::unique_ptr<proc::ExecPlan> plan;
    Warm warm;
    LeafMover mover;  ///< under leftovers = "end"
};

}  // namespace superd::core
