// SPDX-License-Identifier: MIT
#pragma once
// A generation's superd-tls, and what it asks of the generation.

#include "core/generation.h"
#include "core/tls.h"
#include "intake/intake.h"

namespace superd::core {

struct Generation::Secured final : Tls::Host {
    explicit Secured(Generation& of) : generation(of), tls(of.engine_, *this, of.definition_) {}
    intake::Intake& intake() override { return generation.host_.intake(); }
    std::size_t end_cut_off(const std::string& more) override {
        return generation.host_.intake().end_secured(intake::Intake::Secured::cut, more);
    }
    void changed() override { generation.host_.sandbox_changed(generation); }
    void left() override { generation.host_.child_left(generation); }
    std::size_t running() const override { return generation.running(); }
    void scarce(const Error& why) override { generation.host_.could_not_add(why); }

    Generation& generation;
    Tls tls;
};

}  // namespace superd::core
