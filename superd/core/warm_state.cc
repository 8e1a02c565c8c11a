// SPDX-License-Identifier: MIT
#include "core/warm_state.h"

#include <fmt/format.h>

#include <limits>

#include "core/warm.h"

namespace superd::core {

WarmState Warm::write_down(sys::Descriptors& descriptors) {
    WarmState state;
    state.level = level_.memory();
    for (const auto& [pid, process] : processes_)
        state.processes.push_back({process->warm.keep(descriptors), *process});
    state.copied = template_ != nullptr ? template_->warm.pid() : 0;
    state.files = files_.all();
    state.ways = files_.ways();
    state.record = record_;
    return state;
}

Result<void> Warm::go_on(const WarmState& state, sys::Descriptors& descriptors) {
    level_.go_on(state.level);
    for (const WarmProcessState& from : state.processes) {
        const pid_t pid = from.warm.told.pid;
        if (pid <= 0 || engine_.children.contains(pid))
            return fail(fmt::format("{}: warm process {} is not known", definition_.name, pid));
        auto process = std::make_unique<Process>(proc::WarmProcess::go_on(from.warm, descriptors));
        static_cast<WarmProcessRecord&>(*process) = from.record;
        engine_.children[pid] = this;
        Process& kept = *(processes_[pid] = std::move(process));
        if (kept.warm.channel() >= 0 && !watch(kept))
            return fail(fmt::format("{}: process {} cannot be heard", definition_.name, pid));
        if (pid == state.copied) template_ = &kept;
    }
    waiting_files_ = state.files;
    waiting_ways_ = state.ways;
    record_ = state.record;
    set_alarm();
    return {};
}

void Warm::take_up() {
    if (record_.drained) return;
    // What was watched is looked at anew: nobody has heard of a change in between.
    const auto gone_counts = std::numeric_limits<std::int64_t>::max();
    const bool lead_there = files_.go_on(std::exchange(waiting_ways_, {}));
    if (!files_.add(std::exchange(waiting_files_, {}), gone_counts) || !lead_there)
        renew(WarmRenewal::changed, kSaving);
    begin();
}

}  // namespace superd::core
