// SPDX-License-Identifier: MIT
#include "core/service_cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/signal.h"
#include "base/text.h"
#include "proc/child.h"

namespace superd::core {
namespace {

constexpr Duration kOverAfter = std::chrono::seconds(10);
constexpr Duration kKillAgain = std::chrono::milliseconds(100);
constexpr std::size_t kMostTold = 65'536;

std::string leaf_name(std::uint64_t leaf) {
    return fmt::format("h-{}", leaf);
}

/// Also where a group cannot have more below it.
bool is_want(int code) {
    return proc::is_scarcity(code) || code == ENOSPC;
}

struct Line {
    const char* file;
    std::string value;  ///< "": not defined
    const char* plain;  ///< a new group's
};
std::vector<Line> lines_of(const conf::Resources& of) {
    const auto text = [](const auto& value) { return value ? fmt::format("{}", *value) : std::string(); };
    return {{"memory.max", text(of.memory_max), "max"},
            {"memory.high", text(of.memory_high), "max"},
            {"memory.swap.max", text(of.memory_swap_max), "max"},
            {"pids.max", text(of.pids_max), "max"},
            {"cpu.max", of.cpu_max ? fmt::format("{} 100000", *of.cpu_max * 1000LL) : "", "max"},
            {"cpu.weight", text(of.cpu_weight), "100"},
            {"io.weight", text(of.io_weight), "100"}};
}

}  // namespace

ServiceCgroup::ServiceCgroup(Cgroups& all, std::string service, const Children& children, std::function<void()> emptied,
                             std::function<void()> back)
    : all_(all),
      service_(std::move(service)),
      children_(children),
      emptied_(std::move(emptied)),
      back_(std::move(back)),
      watch_(all.watches, [this](const std::string&) { look(); }),
      leaves_(all.loop, [this] { try_leaves(); }),
      kill_(all.loop, [this] { kill_on(); }),
      idle_(all.loop, [this] { remove_idle(); }),
      kills_(all.loop, kOverAfter,
             [this](std::uint64_t count, Duration lasted) {
                 all_.log.write(Level::notice,
                                fmt::format("the kernel killed {} for want of memory in {}", counted(count, "process"),
                                            format_roughly(lasted)),
                                {{"SERVICE", service_}, {"COUNT", count}});
             }),
      refusals_(all.loop, kOverAfter,
                [this](std::uint64_t count, Duration lasted) {
                    all_.log.write(Level::notice,
                                   fmt::format("pids_max was reached {} times in {}", count, format_roughly(lasted)),
                                   {{"SERVICE", service_}, {"COUNT", count}});
                }),
      slow_(all.loop, kOverAfter, [this](std::uint64_t count, Duration lasted) {
          all_.log.write(Level::notice, fmt::format("memory_high was reached for {}", format_roughly(lasted)),
                         {{"SERVICE", service_}, {"COUNT", count}});
      }) {
    all_.groups.insert(this);
}

ServiceCgroup::~ServiceCgroup() {
    all_.groups.erase(this);
    watch_.clear();
    if (group_) (void)group_.remove();
}

void ServiceCgroup::configure(const conf::Service& definition) {
    resources_ = definition.resources;
    stop_signal_ = definition.stop_signal;
    stop_timeout_ = definition.stop_timeout;
}

void ServiceCgroup::apply(const conf::Service& definition) {
    configure(definition);
    ending_all_ = gave_up_ = false;
    killed_at_.reset();
    kill_.clear();
    all_.want(resources_);
    if (group_) write_limits(true);
}

void ServiceCgroup::adopt() {
    if (group_ || !find()) return;
    seen_ = read_events();
    all_.want(resources_);
    write_limits(true);
    look();
}

bool ServiceCgroup::find() {
    auto group = all_.of(service_, false);
    if (!group) return false;
    hold(std::move(*group));
    for (const std::string& name : group_.children())
        if (name.starts_with("h-")) leaf_ = std::max<std::uint64_t>(leaf_, parse_size(name.substr(2)).value_or(0));
    return true;
}

void ServiceCgroup::hold(sys::Cgroup group) {
    group_ = std::move(group);
    for (const char* file : {"cgroup.events", "memory.events", "pids.events"})
        if (group_.has(file)) (void)watch_.add_alone(fmt::format("{}/{}", group_.folder(), file));
}

Result<void> ServiceCgroup::make() {
    if (find()) {  // an earlier superd has left it
        seen_ = read_events();
        write_limits(true);
        return {};
    }
    auto group = all_.of(service_, true);
    if (!group) return std::unexpected(group.error());
    seen_ = {};
    hold(std::move(*group));
    write_limits(false);
    return {};
}

/// `all`: a limit that is not defined any more may still hold.
void ServiceCgroup::write_limits(bool all) {
    for (const Line& line : lines_of(resources_)) {
        const bool defined = !line.value.empty();
        if (!defined && !(all && group_.has(line.file))) continue;
        const auto done = group_.write(line.file, defined ? std::string_view(line.value) : line.plain);
        if (done || done.error().code == EINTR) continue;
        all_.log.write(Level::error, fmt::format("a limit does not hold: {}", done.error().text),
                       {{"SERVICE", service_}, {"ERRNO", done.error().code}});
    }
}

void ServiceCgroup::lost(const std::string& why) {
    if (std::exchange(lost_, true)) return;
    all_.log.write(Level::error,
                   fmt::format("its cgroup cannot be used: {}; handlers are started outside of it, and [resources] do "
                               "not hold until a reload finds it in order",
                               why),
                   {{"SERVICE", service_}});
}

void ServiceCgroup::restore() {
    bool outside = lost_;
    all_.want(resources_);
    if (group_ && access(group_.folder().c_str(), F_OK) != 0) {
        watch_.clear();
        group_ = {};
        outside = true;
    }
    if (group_)
        write_limits(true);
    else if (outside && !make())
        return;  // it has been told, or will be when a child is started
    lost_ = false;
    if (outside && back_) back_();
}

Result<ServiceCgroup::Birth> ServiceCgroup::birth(bool own_leaf) {
    Birth out;
    if (lost_) return out;
    if (!group_) {
        if (auto made = make(); !made) {
            if (is_want(made.error().code)) return std::unexpected(made.error());
            lost(made.error().text);
            return out;
        }
    }
    idle_.clear();
    out.folder = group_.fd();
    if (!own_leaf || resources_.leftovers == conf::Leftovers::keep) return out;
    auto leaf = group_.child(leaf_name(++leaf_), true);
    if (!leaf) {
        if (is_want(leaf.error().code)) return std::unexpected(leaf.error());
        lost(leaf.error().text);
        return Birth{};
    }
    out.leaf = leaf_;
    out.folder = leaf->fd();
    out.own = std::move(*leaf);
    return out;
}

bool ServiceCgroup::blames(const Error& why) {
    if (is_want(why.code)) return false;
    lost(why.text);
    return true;
}

void ServiceCgroup::undo(const Birth& birth) {
    if (birth.leaf != 0) end_leaf(birth.leaf);
}

Result<ServiceCgroup::Leaf> ServiceCgroup::leaf() {
    if (lost_ || !group_ || resources_.leftovers == conf::Leftovers::keep) return Leaf{};
    const auto made = group_.child(leaf_name(++leaf_), true);
    if (!made) return std::unexpected(made.error());
    sys::Fd members = sys::Fd(openat(made->fd(), "cgroup.procs", O_WRONLY | O_CLOEXEC)).lifted();
    if (!members) {
        const int code = errno;
        end_leaf(leaf_);
        return fail_errno("cgroup.procs of a leaf", code);
    }
    return Leaf{leaf_, std::move(members)};
}

bool ServiceCgroup::signal_leaf(std::uint64_t leaf, int number) const {
    if (!group_) return false;
    const auto folder = group_.child(leaf_name(leaf), false);
    if (!folder) return false;
    if (number == SIGKILL && folder->is_populated() && folder->kill()) return true;
    const auto pids = folder->processes(kMostTold);
    for (const pid_t pid : pids) ::kill(pid, number);
    return !pids.empty();
}

void ServiceCgroup::end_leaf(std::uint64_t leaf) {
    if (leaf == 0 || !group_) return;
    // Mostly nobody else is left there.
    if (unlinkat(group_.fd(), leaf_name(leaf).c_str(), AT_REMOVEDIR) == 0) return;
    auto folder = group_.child(leaf_name(leaf), false);
    if (folder ? folder->remove().has_value() : folder.error().code == ENOENT) return;
    if (folder) (void)folder->kill();  // else descriptors are scarce
    ending_.push_back(leaf);
    if (!leaves_.is_set()) try_leaves();
}

void ServiceCgroup::try_leaves() {
    std::erase_if(ending_, [this](std::uint64_t leaf) {
        auto folder = group_ ? group_.child(leaf_name(leaf), false) : fail_errno("", ENOENT);
        if (folder ? folder->remove().has_value() : folder.error().code == ENOENT) return true;
        if (folder) (void)folder->kill();  // before Linux 5.14 not all may have been met
        return false;
    });
    if (ending_.empty()) return leaf_backoff_.reset();
    leaves_.set(now() + leaf_backoff_.next());
}

bool ServiceCgroup::explains_kill() {
    if (!group_) return false;
    look();
    if (excused_ >= counts_.events.memory_kills) return false;
    ++excused_;
    return true;
}

std::vector<pid_t> ServiceCgroup::left_behind() const {
    std::vector<pid_t> pids = group_.processes(kMostTold);
    std::erase_if(pids, [this](pid_t pid) { return children_.contains(pid) || children_.contains(getpgid(pid)); });
    return pids;
}

void ServiceCgroup::end() {
    if (std::exchange(ending_all_, true)) return;
    if (!is_populated()) return;
    std::size_t told = 0;
    for (const pid_t pid : left_behind()) {
        ::kill(pid, SIGCONT);
        if (::kill(pid, stop_signal_) == 0) ++told;
    }
    if (told > 0)
        all_.log.write(Level::info,
                       fmt::format("what handlers have left is ended by {}: {}", signal_name(stop_signal_),
                                   counted(told, "process")),
                       {{"SERVICE", service_}, {"COUNT", told}});
    kill_.set(now() + stop_timeout_);
}

void ServiceCgroup::kill() {
    if (!group_) return;
    if (!killed_at_) killed_at_ = now();
    ending_all_ = true;
    (void)group_.kill();
    kill_.set(now() + kKillAgain);
}

void ServiceCgroup::kill_on() {
    if (!is_populated()) return emptied_();
    if (!killed_at_ && !left_behind().empty())
        all_.log.write(Level::notice, "what handlers have left did not end in time and is killed",
                       {{"SERVICE", service_}});
    if (killed_at_ && now() - *killed_at_ >= kDeath) {
        gave_up_ = true;
        all_.log.write(Level::error,
                       fmt::format("what is left in {} cannot be killed, and is not waited for", group_.folder()),
                       {{"SERVICE", service_}});
        return emptied_();
    }
    kill();
}

/// What cannot be read just now is as it was: else it would all count again.
CgroupEvents ServiceCgroup::read_events() const {
    CgroupEvents out = seen_;
    if (!group_) return out;
    if (const auto memory = group_.read("memory.events")) {
        out.memory_high = sys::value_in(*memory, "high").value_or(0);
        out.memory_kills = sys::value_in(*memory, "oom_kill").value_or(0);
    }
    if (const auto pids = group_.read("pids.events")) out.pids_max = sys::value_in(*pids, "max").value_or(0);
    return out;
}

void ServiceCgroup::look() {
    if (!group_) return;
    const CgroupEvents seen = read_events();
    // Where a controller has been turned off and on again, its counters begin anew.
    const auto more = [](std::uint64_t before, std::uint64_t now) { return now >= before ? now - before : now; };
    const std::uint64_t high = more(seen_.memory_high, seen.memory_high);
    const std::uint64_t kills = more(seen_.memory_kills, seen.memory_kills);
    const std::uint64_t pids = more(seen_.pids_max, seen.pids_max);
    seen_ = seen;
    counts_.events.memory_high += high;
    counts_.events.memory_kills += kills;
    counts_.events.pids_max += pids;
    note(kills, kills_, Level::warning,
         resources_.memory_max ? fmt::format("memory_max ({}) is reached: the kernel kills handlers' processes",
                                             format_size(*resources_.memory_max))
                               : "memory is short: the kernel kills handlers' processes");
    note(
        pids, refusals_, Level::warning,
        fmt::format("pids_max ({}) is reached: handlers can start no more processes", resources_.pids_max.value_or(0)));
    note(std::min<std::uint64_t>(high, 1), slow_, Level::notice,
         fmt::format("memory_high ({}) is reached: handlers are slowed down",
                     format_size(resources_.memory_high.value_or(0))));
    if (group_.is_populated()) return idle_.clear();
    if (!idle_.is_set()) idle_.set(now() + kIdle);
    if (ending_all_) emptied_();
}

void ServiceCgroup::note(std::uint64_t times, Episode& episode, Level level, const std::string& what) {
    constexpr std::uint64_t kMost = 1000;
    for (std::uint64_t i = 0; i < std::min(times, kMost); ++i)
        if (episode.note(now())) all_.log.write(level, what, {{"SERVICE", service_}});
}

void ServiceCgroup::remove_idle() {
    if (!group_ || group_.is_populated()) return;
    const auto stat = group_.read("cpu.stat");
    sys::Cgroup gone = std::move(group_);
    watch_.clear();
    if (!gone.remove()) return hold(std::move(gone));
    seen_ = {};
    if (!stat) return;
    counts_.cpu_usec += sys::value_in(*stat, "usage_usec").value_or(0);
    counts_.throttled_usec += sys::value_in(*stat, "throttled_usec").value_or(0);
    counts_.throttled += sys::value_in(*stat, "nr_throttled").value_or(0);
}

CgroupReport ServiceCgroup::report() const {
    CgroupReport out;
    out.present = static_cast<bool>(group_);
    out.memory_max = resources_.memory_max;
    out.pids_max = resources_.pids_max;
    out.events = counts_.events;
    const std::string stat = group_ ? group_.read("cpu.stat").value_or("") : "";
    const auto seconds = [](std::uint64_t usec) { return static_cast<double>(usec) / 1e6; };
    out.cpu_seconds = seconds(counts_.cpu_usec + sys::value_in(stat, "usage_usec").value_or(0));
    out.throttled_seconds = seconds(counts_.throttled_usec + sys::value_in(stat, "throttled_usec").value_or(0));
    out.throttled = counts_.throttled + sys::value_in(stat, "nr_throttled").value_or(0);
    if (!group_) return out;
    const auto number = [this](const char* file) -> std::optional<std::uint64_t> {
        const auto text = group_.read(file);
        return text ? parse_size(split(*text, '\n')[0]) : std::nullopt;
    };
    out.memory = number("memory.current");
    out.memory_peak = number("memory.peak");
    out.pids = number("pids.current");
    return out;
}

CgroupState ServiceCgroup::write_down() const {
    CgroupState state;
    state.seen = seen_;
    state.counts = counts_;
    state.excused = excused_;
    state.ending = ending_;
    if (ending_all_) state.kill_at = killed_at_ ? killed_at_ : kill_.when();
    state.kills = kills_.memory();
    state.refusals = refusals_.memory();
    state.slow = slow_.memory();
    return state;
}

void ServiceCgroup::go_on(const CgroupState& state) {
    seen_ = state.seen;
    counts_ = state.counts;
    excused_ = state.excused;
    ending_ = state.ending;
    ending_all_ = state.kill_at.has_value();
    if (state.kill_at) kill_.set(*state.kill_at);
    kills_.go_on(state.kills);
    refusals_.go_on(state.refusals);
    slow_.go_on(state.slow);
}

void ServiceCgroup::take_up() {
    all_.want(resources_);
    if (!find()) return;
    if (!ending_.empty()) try_leaves();
    look();
}

}  // namespace superd::core
