// SPDX-License-Identifier: MIT
// What warm processes tell, and how they end.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/text.h"
#include "core/warm.h"
#include "core/warm_state.h"
#include "proc/child.h"

namespace superd::core {

using Event = proc::WarmProcess::Event;

void Warm::hear(Process& process) {
    const pid_t pid = process.warm.pid();
    const auto is_here = [&] { return processes_.contains(pid); };  // it may go by its own word
    while (is_here()) {
        const auto event = process.warm.next();
        if (!event) return;
        switch (event->kind) {
            case Event::Kind::parked:
                parked(process);
                break;
            case Event::Kind::going:
                take_going(process, *event);
                break;
            case Event::Kind::failed:
                take_failure(process, *event);
                break;
            case Event::Kind::refused:
            case Event::Kind::gone:
                return closed(process);
        }
    }
}

void Warm::hear(Coming& coming) {
    const auto at = std::ranges::find(coming_, coming.serial, &Coming::serial);
    while (auto event = at->warm.next()) {
        if (event->kind == Event::Kind::failed) continue;
        const bool parked = event->kind == Event::Kind::parked;
        Coming one = std::move(*at);
        coming_.erase(at);
        one.source = {};
        const pid_t pid = one.warm.pid();
        if (parked && template_ != nullptr && !engine_.children.contains(pid)) {
            ++host_.counts().copies;
            if (host_.waits(std::make_unique<proc::WarmProcess>(std::move(one.warm)), template_->warm.pid())) return;
        } else if (const int code = one.warm.code(); code != 0 && !proc::is_scarcity(code) && template_ != nullptr) {
            cannot_copy(*template_, code);
        }
        return host_.model().park_failed();
    }
}

Warm::Coming* Warm::coming(std::uint32_t serial) {
    const auto at = std::ranges::find(coming_, serial, &Coming::serial);
    return at != coming_.end() ? &*at : nullptr;
}

void Warm::cannot_copy(Process& process, int code) {
    fall(Value::start, WarmFallback::not_copied, fmt::format("its copies cannot be made ready: {}", errno_text(code)));
    leave(process);
}

void Warm::hear_all(Duration most) {
    const Instant until = now() + most;
    for (;;) {
        std::vector<pollfd> channels;
        for (const auto& [pid, process] : processes_)
            if (process->warm.is_open()) channels.push_back({process->warm.channel(), POLLIN, 0});
        for (const Coming& coming : coming_) channels.push_back({coming.warm.channel(), POLLIN, 0});
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now()).count();
        if (poll(channels.data(), channels.size(), std::max(0, static_cast<int>(left))) <= 0) break;
        // Whoever tells something may go by it.
        std::vector<pid_t> pids;
        for (const auto& [pid, process] : processes_) pids.push_back(pid);
        for (const pid_t pid : pids)
            if (const auto at = processes_.find(pid); at != processes_.end()) hear(*at->second);
        std::vector<std::uint32_t> serials;
        for (const Coming& coming : coming_) serials.push_back(coming.serial);
        for (const auto serial : serials)
            if (Coming* const one = coming(serial)) hear(*one);
        if (settled() || now() >= until) break;
    }
    over();
}

/// It has the host's from now on, where it may wait for a client; or it is the template.
void Warm::parked(Process& process) {
    note_facts(process);
    if (process.leaving) return;
    const bool same = files_.add(process.warm.files(), process.since);
    process.warm.forget_files();
    if (!same) return renew(WarmRenewal::changed, kSaving);
    const bool copies = process.warm.obstacle() == proc::warm::Obstacle::none && level_.wanted() == Value::clone;
    const Value value = copies ? Value::clone : Value::start;
    if (process.trial) {
        const Value before = level_.in_force();
        level_.reached(value, now());
        if (level_.in_force() != value) return leave(process);  // not for now
        if (value != level_.wanted()) fall(value, because_of(process.warm.obstacle()), describe(process.warm));
        if (before < value) host_.stale();
    }
    if (definition_.prefork->max_age && !record_.age_at) record_.age_at = now() + *definition_.prefork->max_age;
    if (process.trial && copies) {
        template_ = &process;
        if ((record_.facts & proc::warm::kDrewRandom) != 0 && !std::exchange(record_.told_random, true))
            engine_.log.write(Level::notice,
                              "the template drew random numbers before its first client: all copies share what it "
                              "made of them (seeds, keys)",
                              {{"SERVICE", definition_.name}, {"CHILD_PID", process.warm.pid()}});
    } else {
        if (!host_.waits(release(process), 0)) host_.model().park_failed();
    }
    host_.model().resume();
}

void Warm::note_facts(const Process& process) {
    record_.has_parked = true;
    record_.start_time = now() - process.started;
    record_.facts = process.warm.facts();
    record_.threads = process.warm.threads();
}

std::unique_ptr<proc::WarmProcess> Warm::release(Process& process) {
    process.source = {};
    auto warm = std::make_unique<proc::WarmProcess>(std::move(process.warm));
    processes_.erase(warm->pid());
    return warm;
}

void Warm::take_going(Process& process, const Event& event) {
    const auto at = std::ranges::find(process.asked, event.serial, &Asked::serial);
    // Whoever is a child already is no copy.
    if (engine_.children.contains(event.pid)) return put_to_death(process);
    if (at == process.asked.end()) {  // it was given up, and its client is served
        kill(event.pid, SIGKILL);
        return;
    }
    model::Client client = std::move(at->client);
    process.asked.erase(at);
    ++process.served;
    ++host_.counts().copies;
    host_.serves(event.pid, process.warm.pid(), std::move(client));
    if (process.leaving && process.asked.empty()) put_to_death(process);
}

void Warm::take_failure(Process& process, const Event& event) {
    if (const auto at = std::ranges::find(process.asked, event.serial, &Asked::serial); at != process.asked.end()) {
        cold_.push_back(std::move(at->client));
        process.asked.erase(at);
    } else if (const auto one = std::ranges::find(coming_, event.serial, &Coming::serial); one != coming_.end()) {
        coming_.erase(one);
        host_.model().park_failed();
    }
    if (process.leaving) {
        if (process.asked.empty()) put_to_death(process);
    } else if (!proc::is_scarcity(event.code)) {
        cannot_copy(process, event.code);
        host_.model().resume();
    }
}

void Warm::close(Process& process) {
    const pid_t pid = process.warm.pid();
    // From here on a copy that is late hears that nobody listens, and leaves.
    if (process.warm.is_open()) {
        shutdown(process.warm.channel(), SHUT_RD);
        hear(process);
    }
    if (const auto at = processes_.find(pid); at != processes_.end()) closed(*at->second);
}

/// Whoever has not been told of by now is not being served: nobody has the channel any more by which they were sent.
void Warm::closed(Process& process) {
    process.source = {};
    process.warm.close();
    for (Asked& asked : process.asked) cold_.push_back(std::move(asked.client));
    process.asked.clear();
    if (!process.alive) return conclude(process);
    kill(process.warm.pid(), SIGKILL);
    if (!process.closes_by) process.closes_by = now() + kPatience;
}

void Warm::exited(pid_t pid, int, const rusage&) {
    const auto failure = engine_.spawner.reaped(pid);
    const auto at = processes_.find(pid);
    if (at == processes_.end()) return;
    Process& process = *at->second;
    process.alive = false;
    if (failure)
        process.not_started = fmt::format("it cannot be started: {} {}: {}", proc::name_of(failure->step),
                                          definition_.handler.path, errno_text(failure->code));
    if (!process.closes_by) process.closes_by = now() + kPatience;
    if (!process.warm.is_open()) return conclude(process);
    hear(process);
}

void Warm::after_exit() {
    left_ = true;
    over();
}

void Warm::conclude(Process& process) {
    left_ = true;
    const bool was_template = template_ == &process;
    const bool leaving = process.leaving, trial = process.trial;
    std::string why = process.not_started.empty() ? describe(process.warm) : process.not_started;
    const auto fallback = process.not_started.empty() ? because_of(process.warm.obstacle()) : WarmFallback::not_started;
    const std::vector<proc::WarmFile> files = process.warm.files();
    const auto since = process.since;
    if (was_template) template_ = nullptr;
    processes_.erase(process.warm.pid());
    if (was_template) return renew(WarmRenewal::ended);
    if (leaving || record_.drained) return;
    (void)files_.add(files, since);  // once one has changed, it is tried again
    fall(Value::off, fallback, std::move(why));
    if (!trial) host_.model().park_failed();
    host_.model().resume();
}

void Warm::forget(Process& process) {
    engine_.children.erase(process.warm.pid());
    conclude(process);
}

void Warm::overdue(pid_t pid) {
    engine_.log.write(Level::error,
                      fmt::format("{} did not start within {}; process {} is killed", definition_.handler.path,
                                  format_duration(proc::Spawner::kExecDeadline), pid),
                      {{"SERVICE", definition_.name}, {"STEP", "exec"}, {"CHILD_PID", pid}});
}

WarmReport Warm::report() const {
    WarmReport out;
    out.wanted = name_of(level_.wanted());
    out.in_force = name_of(level_.in_force());
    if (level_.is_lowered()) out.reason = level_.reason();
    out.parked = record_.has_parked;
    out.asked_pid = (record_.facts & proc::warm::kAskedPid) != 0;
    out.drew_random = (record_.facts & proc::warm::kDrewRandom) != 0;
    out.files = files_.size();
    out.unwatched = files_.unwatched();
    out.left_out = files_.left_out();
    out.threads = record_.threads;
    out.start = record_.start_time;
    if (template_ == nullptr) return out;
    out.pid = template_->warm.pid();
    out.age = now() - template_->started;
    out.served = template_->served;
    return out;
}

}  // namespace superd::core
