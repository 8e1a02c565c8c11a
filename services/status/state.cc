// SPDX-License-Identifier: MIT
#include "status/state.h"

#include <algorithm>
#include <set>
#include <utility>

namespace status {
namespace {

constexpr auto kEach = std::chrono::seconds(1);
constexpr auto kLongest = std::chrono::seconds(2);
constexpr auto kWatched = std::chrono::seconds(10);  // after somebody has looked

}  // namespace

std::optional<web::Instant> State::tick() {
    if (asking_) return std::nullopt;
    const web::Instant time = web::Clock::now();
    const bool watched = time < watched_until_;
    const web::Instant due = std::max(may_ask_at_, watched ? web::Instant{} : asked_at_ + History::kSlot);
    if (due > time) return due;
    if (!control_.has_room()) return time + kEach;
    ask();
    return std::nullopt;
}

bool State::look(std::function<void()> then) {
    const web::Instant time = web::Clock::now();
    watched_until_ = time + kWatched;
    if (!asking_ && time < may_ask_at_) return true;
    waiting_.push_back(std::move(then));
    return false;
}

void State::ask() {
    asking_ = true;
    asked_at_ = web::Clock::now();
    control_.ask({{"verb", "status"}}, [this](web::Answer answer) {
        if (!answer) return finish(answer.error());
        asked_ = std::move(*answer);
        control_.ask({{"verb", "processes"}}, [this](web::Answer more) { have_processes(std::move(more)); });
    });
}

void State::have_processes(web::Answer answer) {
    if (!answer) return finish(answer.error());
    status_ = std::move(asked_);
    processes_ = std::move(*answer);
    seen_ = web::Clock::now();
    std::set<pid_t> pids;
    if (auto all = processes_.find("processes"); all != processes_.end() && all->is_array()) {
        for (web::Json& process : *all) {
            if (!process.is_object()) continue;
            const auto pid = static_cast<pid_t>(web::number_of(process, "pid"));
            pids.insert(pid);
            const auto usage = usage_.look(pid);
            process["usage"] = usage ? web::Json{{"cpu_percent", usage->cpu}, {"memory", usage->memory}} : web::Json();
        }
    }
    usage_.keep(pids);
    remember();
    finish("");
}

void State::remember() {
    std::set<std::string> names;
    for (const web::Json& service : web::array_of(status_, "services")) {
        const std::string name = web::text_of(service, "name");
        const web::Json& times = web::object_of(service, "handler_seconds");
        const auto more = histories_[name].add(
            seen_, {web::number_of(service, "accepted"), web::number_of(times, "count"), web::number_of(times, "sum")});
        // A service that goes takes its counts with it; what has been seen stays.
        all_.clients += more.clients;
        all_.ended += more.ended;
        all_.seconds += more.seconds;
        names.insert(name);
    }
    std::erase_if(histories_, [&](const auto& entry) { return !names.contains(entry.first); });
    total_.add(seen_, all_);
}

void State::finish(const std::string& trouble) {
    asking_ = false;
    trouble_ = trouble;
    ++version_;
    const web::Instant time = web::Clock::now();
    const auto pause = trouble.empty() ? std::min<web::Clock::duration>(kShare * (time - asked_at_), kLongest) : kEach;
    may_ask_at_ = time + std::max<web::Clock::duration>(kEach, pause);
    for (const auto& then : std::exchange(waiting_, {})) then();
}

const web::Json* State::service(const std::string& name) const {
    for (const web::Json& one : web::array_of(status_, "services"))
        if (web::text_of(one, "name") == name) return &one;
    return nullptr;
}

const History* State::history(const std::string& service) const {
    const auto at = histories_.find(service);
    return at != histories_.end() ? &at->second : nullptr;
}

}  // namespace status
