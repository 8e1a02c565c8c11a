// SPDX-License-Identifier: MIT
// When something is due with warm processes, and what becomes of those that are late.
#include <fmt/format.h>

#include <vector>

#include "core/warm.h"

namespace superd::core {

void Warm::set_alarm() {
    std::optional<Instant> next;
    const auto by = [&next](const std::optional<Instant>& when) {
        if (when && (!next || *when < *next)) next = when;
    };
    if (!record_.drained) {
        by(record_.start_at ? record_.start_at : level_.retry_at());
        by(record_.age_at);
    }
    for (const auto& [pid, process] : processes_) by(process->closes_by ? process->closes_by : late_at(*process));
    if (!coming_.empty()) by(coming_.front().since + kPatience);
    if (!next) return alarm_.clear();
    if (alarm_.when() != next) alarm_.set(*next);
}

std::optional<Instant> Warm::late_at(const Process& process) const {
    // The tracer keeps this time; but it may be stopped.
    if (process.warm.state() == proc::WarmProcess::State::starting)
        return process.started + definition_.prefork->warm_within + kPatience;
    if (!process.asked.empty()) return process.asked.front().since + kPatience;
    return std::nullopt;
}

/// It does not answer in time.
void Warm::give_up(Process& process) {
    const bool starting = process.warm.state() == proc::WarmProcess::State::starting;
    const bool leaving = process.leaving;
    if (starting)
        process.not_started = "it was not ready in time";
    else
        engine_.log.write(Level::notice,
                          fmt::format("the template {} does not answer and is killed; its clients are served by fork",
                                      process.warm.pid()),
                          {{"SERVICE", definition_.name}, {"CHILD_PID", process.warm.pid()}});
    put_to_death(process);
    if (starting) process.leaving = leaving;  // its end is a reason to fall
    if (!starting && !leaving) renew(WarmRenewal::ended);
}

/// Copies that were to wait and have not said so in time. False: there are none.
bool Warm::drop_late_copies(Instant time) {
    const std::size_t before = coming_.size();
    while (!coming_.empty() && coming_.front().since + kPatience <= time) {
        coming_.pop_front();
        host_.model().park_failed();
    }
    return coming_.size() != before;
}

void Warm::ring() {
    const Instant time = now();
    const bool silent = drop_late_copies(time) && template_ != nullptr;
    std::vector<pid_t> pids;  // since any of them may go by what is done to another
    for (const auto& [pid, process] : processes_) pids.push_back(pid);
    for (const pid_t pid : pids) {
        const auto at = processes_.find(pid);
        if (at == processes_.end()) continue;
        Process& process = *at->second;
        const auto late = late_at(process);
        if (process.closes_by && *process.closes_by <= time) {
            process.closes_by = time + kPatience;
            process.warm.channel() < 0 ? forget(process) : close(process);
        } else if (!process.closes_by && ((late && *late <= time) || (silent && &process == template_))) {
            give_up(process);
        }
    }
    if (!record_.drained && record_.age_at && *record_.age_at <= time) renew(WarmRenewal::aged);
    if (!record_.drained && record_.start_at && *record_.start_at <= time) {
        record_.start_at.reset();
        try_template();
        host_.model().resume();
    }
    if (!record_.start_at && level_.retry_at() && *level_.retry_at() <= time) try_template();
    // One that was not due any more must not ring for ever.
    if (!record_.start_at && level_.retry_at() && *level_.retry_at() <= time)
        level_.trying(host_.is_ready() ? std::nullopt : std::optional(time + WarmLevel::kMinute));
    over();
}

}  // namespace superd::core
