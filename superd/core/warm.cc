// SPDX-License-Identifier: MIT
#include "core/warm.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/place.h"
#include "base/text.h"
#include "core/warm_state.h"
#include "proc/child.h"

namespace superd::core {
namespace {

using proc::WarmProcess;
using proc::warm::Obstacle;
using Outcome = model::Parking::Outcome;

constexpr Duration kStartAgain = std::chrono::seconds(1);
/// Clients that one template has been given and has not answered for, and copies that are to wait.
constexpr std::size_t kMostUnanswered = 32;

/// The absolute paths that it is started by.
std::vector<std::string> names_of(const conf::Handler& handler) {
    std::vector<std::string> names = {handler.path};
    for (const std::string& word : handler.argv)
        if (word.starts_with('/') && std::ranges::find(names, word) == names.end()) names.push_back(word);
    return names;
}

/// As files tell the time.
std::int64_t file_time() {
    timespec at{};
    clock_gettime(CLOCK_REALTIME_COARSE, &at);
    return at.tv_sec * std::int64_t{1'000'000'000} + at.tv_nsec;
}

}  // namespace

Warm::Warm(Engine& engine, Host& host, const conf::Service& definition)
    : engine_(engine),
      host_(host),
      definition_(definition),
      level_(definition.prefork->warm),
      files_(
          engine.file_watches, definition.handler.root_directory, definition.handler.identity,
          [this] {
              renew(WarmRenewal::changed, kSaving);
              over();
          },
          names_of(definition.handler)),
      alarm_(engine.loop, [this] { ring(); }) {}

Warm::~Warm() {
    for (const auto& [pid, process] : processes_) engine_.children.erase(pid);
    engine_.unanswered.erase(this);
}

void Warm::begin() {
    if (record_.drained) return;
    try_template();
    set_alarm();
}

std::optional<model::Parking> Warm::park() {
    look();
    if (record_.drained || level_.in_force() == Value::off) return std::nullopt;
    if (coming() >= kMostUnanswered) return model::Parking{Outcome::not_now, 0};
    const model::Parking parking = level_.in_force() == Value::clone ? copy_one() : start_one();
    set_alarm();
    note_unanswered();
    // What it falls back to by this very try is had at once.
    if (parking.outcome == Outcome::later && level_.in_force() == Value::off) return std::nullopt;
    return parking;
}

std::optional<Duration> Warm::pause_for_parking() const {
    switch (level_.in_force()) {
        case Value::start:
            // While they come as fast as they can be started, starting ahead of them gains nothing; and a start that is
            // traced takes twice as long as theirs.
            return std::clamp<Duration>(2 * record_.start_time, std::chrono::milliseconds(10),
                                        std::chrono::milliseconds(500));
        case Value::clone:
        case Value::off:
            break;
    }
    return std::nullopt;
}

/// On failure the level has fallen, or somebody has been told.
Result<Warm::Process*> Warm::start(bool trial) try {
    if (!engine_.warmer) {
        fall(Value::off, WarmFallback::not_installed, "superd-warm is not installed");
        return fail("superd-warm is not installed");
    }
    auto process = std::make_unique<Process>(WarmProcess(0, {}));
    Place place(processes_);
    const auto within = std::chrono::floor<std::chrono::milliseconds>(definition_.prefork->warm_within).count();
    const bool errors_to_client = definition_.handler.error_output == conf::Stderr::socket;
    auto pair = proc::make_channel(proc::warm::Order{static_cast<std::uint32_t>(within), errors_to_client ? 1U : 0U});
    if (!pair) return std::unexpected(pair.error());
    files_.start();
    process->since = file_time();
    process->started = now();
    process->trial = trial;
    const auto pid = host_.start(*this, std::move(pair->theirs));
    if (!pid) return std::unexpected(pid.error());
    ++host_.counts().templates;
    process->warm = WarmProcess(*pid, std::move(pair->ours));
    Process& kept = *place.take(*pid, std::move(process));
    if (watch(kept)) return &kept;
    put_to_death(kept);
    return no_memory();
} catch (const std::bad_alloc&) {
    return no_memory();
}

bool Warm::watch(Process& process) try {
    const pid_t pid = process.warm.pid();
    auto source = engine_.loop.io(process.warm.channel(), EPOLLIN, [this, pid](std::uint32_t) {
        if (const auto at = processes_.find(pid); at != processes_.end()) hear(*at->second);
        over();
    });
    if (source) process.source = std::move(*source);
    return source.has_value();
} catch (const std::bad_alloc&) {
    return false;
}

bool Warm::watch(Coming& coming) try {
    const auto serial = coming.serial;
    auto source = engine_.loop.io(coming.warm.channel(), EPOLLIN, [this, serial](std::uint32_t) {
        if (Coming* const one = this->coming(serial)) hear(*one);
        over();
    });
    if (source) coming.source = std::move(*source);
    return source.has_value();
} catch (const std::bad_alloc&) {
    return false;
}

/// Has a template started if there is to be one, or tries what was not to be had before.
void Warm::try_template() {
    if (record_.drained || (record_.start_at && now() < *record_.start_at)) return;
    record_.start_at.reset();
    if (!host_.is_ready()) return;  // begin() follows
    const auto is_one = [](const auto& entry) { return entry.second->trial && !entry.second->leaving; };
    if (std::ranges::any_of(processes_, is_one)) return;
    const bool due =
        level_.is_lowered() ? level_.retry_at() && *level_.retry_at() <= now() : level_.wanted() == Value::clone;
    if (!due) return;
    level_.trying();
    if (const auto started = start(true); !started && engine_.warmer) {
        host_.could_not_add(started.error());
        record_.start_at = now() + kStartAgain;
        if (level_.is_lowered()) level_.changed(*record_.start_at);
    }
}

model::Parking Warm::start_one() {
    if (record_.start_at || !host_.is_ready()) return {Outcome::later, 0};
    const auto started = start(false);
    if (started) return {Outcome::coming, 0};
    if (!engine_.warmer) return {Outcome::later, 0};
    host_.could_not_add(started.error());
    return {Outcome::not_now, 0};
}

model::Parking Warm::copy_one() try {
    if (template_ == nullptr) {
        try_template();
        return {Outcome::later, 0};
    }
    coming_.push_back({++record_.serial, now(), WarmProcess(0, {}), {}});
    Coming& next = coming_.back();
    if (auto copy = template_->warm.copy(next.serial)) {
        next.warm = std::move(*copy);
        if (watch(next)) return {Outcome::coming, 0};
    }
    coming_.pop_back();  // where it has gone, its channel tells
    return {Outcome::not_now, 0};
} catch (const std::bad_alloc&) {
    return {Outcome::not_now, 0};
}

bool Warm::serve(model::Client& client) try {
    if (!look() || template_ == nullptr || level_.in_force() != Value::clone) return false;
    std::deque<Asked>& asked = template_->asked;
    const Instant time = now();
    if (asked.size() >= kMostUnanswered || (!asked.empty() && time - asked.front().since > kKeepsUp)) return false;
    const bool errors_to_client = definition_.handler.error_output == conf::Stderr::socket;
    engine_.unanswered.insert(this);
    asked.push_back({++record_.serial, time, {}});
    set_alarm();  // once it has been sent, nothing may fail
    if (!template_->warm.copy_for(client.connection.get(), errors_to_client, record_.serial)) {
        asked.pop_back();
        note_unanswered();
        return false;
    }
    asked.back().client = std::move(client);
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

bool Warm::look() {
    if (files_.look(now())) return true;
    renew(WarmRenewal::changed, kSaving);
    set_alarm();
    return false;
}

void Warm::serves(pid_t copy_of) {
    if (template_ != nullptr && template_->warm.pid() == copy_of) ++template_->served;
}

void Warm::crashed(pid_t copy_of) {
    if (template_ == nullptr || template_->warm.pid() != copy_of) return;
    renew(WarmRenewal::crashed);
    set_alarm();
}

/// What waits, and what copies would be made of, is out of date; others are started after `pause`.
void Warm::renew(WarmRenewal why, Duration pause) {
    if (record_.drained) return;
    static constexpr const char* kWhy[] = {"a file that the handler read has changed", "max_age is over",
                                           "the template has ended", "a copy crashed"};
    ++host_.counts().renewals[static_cast<std::size_t>(why)];
    const bool by_file = why == WarmRenewal::changed && !files_.changed().empty();
    engine_.log.write(Level::info,
                      fmt::format("what is ready for clients is replaced: {}{}", kWhy[static_cast<int>(why)],
                                  by_file ? fmt::format(" ({})", escape(files_.changed())) : ""),
                      {{"SERVICE", definition_.name}, {"RENEWAL", name_of(why)}});
    // Who asks for a short life gets it.
    if (why != WarmRenewal::aged && level_.renewed(now())) {
        ++host_.counts().fallbacks[static_cast<std::size_t>(WarmFallback::renewals)];
        tell_level();
    }
    if (why == WarmRenewal::changed) level_.changed(now());
    let_go();
    record_.start_at = now() + pause;
    host_.stale();
    if (pause > Duration::zero()) return;
    try_template();
    host_.model().resume();
}

/// Nobody gets what these would serve. A copy that is coming leaves when its channel closes.
void Warm::let_go() {
    coming_.clear();
    for (const auto& [pid, process] : processes_) leave(*process);
    files_.clear();
    record_.age_at.reset();
}

void Warm::leave(Process& process) {
    if (template_ == &process) template_ = nullptr;
    process.leaving = true;
    if (process.asked.empty()) put_to_death(process);
}

void Warm::put_to_death(Process& process) {
    if (template_ == &process) template_ = nullptr;
    process.leaving = true;
    if (process.alive) kill(process.warm.pid(), SIGKILL);
    if (!process.closes_by) process.closes_by = now() + kPatience;
}

void Warm::fall(Value value, WarmFallback why, std::string reason) {
    ++host_.counts().fallbacks[static_cast<std::size_t>(why)];
    if (level_.failed(std::min(value, level_.in_force()), std::move(reason), now())) tell_level();
}

void Warm::tell_level() {
    engine_.log.write(Level::notice,
                      fmt::format("clients are served as with prefork.warm = \"{}\" instead of \"{}\": {}",
                                  name_of(level_.in_force()), name_of(level_.wanted()), level_.reason()),
                      {{"SERVICE", definition_.name}, {"WARM", name_of(level_.in_force())}});
}

void Warm::drain() {
    if (record_.drained) return;
    record_.drained = true;
    record_.start_at.reset();
    let_go();
    set_alarm();
    note_unanswered();
}

void Warm::kill_all() {
    for (const auto& [pid, process] : processes_) put_to_death(*process);
    set_alarm();
}

bool Warm::end_child(pid_t pid, std::optional<int> number) {
    const auto at = processes_.find(pid);
    if (at == processes_.end()) return false;
    kill(pid, number.value_or(SIGKILL));  // it has no client, and blocks whatever else there is
    return true;
}

std::size_t Warm::coming() const {
    const auto is_coming = [](const auto& entry) { return !entry.second->trial && !entry.second->leaving; };
    return coming_.size() + static_cast<std::size_t>(std::ranges::count_if(processes_, is_coming));
}

bool Warm::settled() const {
    return coming_.empty() && cold_.empty() && std::ranges::all_of(processes_, [](const auto& entry) {
               return entry.second->asked.empty() && entry.second->alive;
           });
}

void Warm::note_unanswered() {
    if (settled())
        engine_.unanswered.erase(this);
    else
        engine_.unanswered.insert(this);
}

void Warm::over() {
    while (!cold_.empty()) {
        model::Client client = std::move(cold_.front());
        cold_.pop_front();
        host_.serve_cold(std::move(client));
    }
    set_alarm();
    note_unanswered();
    if (std::exchange(left_, false)) host_.left();
}

}  // namespace superd::core
