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
        state.processes.push_back({process->warm.keep(descriptors), process->started, process->since, process->trial,
                                   process->leaving, process->closes_by, process->served});
    state.copied = template_ != nullptr ? template_->warm.pid() : 0;
    state.files = files_.all();
    state.serial = serial_;
    state.start_at = start_at_;
    state.age_at = age_at_;
    state.start_time = start_time_;
    state.facts = facts_;
    state.threads = threads_;
    state.has_parked = has_parked_;
    state.told_random = told_random_;
    state.drained = drained_;
    return state;
}

Result<void> Warm::go_on(const WarmState& state, sys::Descriptors& descriptors) {
    level_.go_on(state.level);
    for (const WarmProcessState& from : state.processes) {
        const pid_t pid = from.warm.pid;
        if (pid <= 0 || engine_.children.contains(pid))
            return fail(fmt::format("{}: warm process {} is not known", definition_.name, pid));
        auto process = std::make_unique<Process>(proc::WarmProcess::go_on(from.warm, descriptors));
        process->started = from.started;
        process->since = from.since;
        process->trial = from.trial;
        process->leaving = from.leaving;
        process->closes_by = from.closes_by;
        process->served = from.served;
        engine_.children[pid] = this;
        Process& kept = *(processes_[pid] = std::move(process));
        if (kept.warm.channel() >= 0 && !watch(kept))
            return fail(fmt::format("{}: process {} cannot be heard", definition_.name, pid));
        if (pid == state.copied) template_ = &kept;
    }
    waiting_files_ = state.files;
    serial_ = state.serial;
    start_at_ = state.start_at;
    age_at_ = state.age_at;
    start_time_ = state.start_time;
    facts_ = state.facts;
    threads_ = state.threads;
    has_parked_ = state.has_parked;
    told_random_ = state.told_random;
    drained_ = state.drained;
    set_alarm();
    return {};
}

void Warm::take_up() {
    if (drained_) return;
    // What was watched is looked at anew: nobody has heard of a change in between.
    const auto gone_counts = std::numeric_limits<std::int64_t>::max();
    if (!files_.add(std::exchange(waiting_files_, {}), gone_counts))
        renew(WarmRenewal::changed, std::chrono::milliseconds(100));
    begin();
}

}  // namespace superd::core
