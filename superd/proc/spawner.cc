// SPDX-License-Identifier: MIT
#include "proc/spawner.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "proc/child.h"
#include "proc/clone_into.h"
#include "proc/parking.h"
#include "sys/interruption.h"
#include "sys/process.h"

namespace superd::proc {
namespace {

/// One page below each stack is unmapped, whatever the page size.
std::size_t guard() {
    static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return page;
}
std::size_t mapping() {
    constexpr std::size_t kStack = 32 * 1024;
    return guard() + (kStack + guard() - 1) / guard() * guard();
}

}  // namespace

/// One child on its way to exec: its stack and everything that it reads and writes.
struct Spawner::Slot {
    Slot() {
        void* memory = mmap(nullptr, mapping(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return;
        stack = static_cast<char*>(memory);
        mprotect(stack, guard(), PROT_NONE);
    }
    ~Slot() {
        if (stack != nullptr) munmap(stack, mapping());
    }
    Slot(const Slot&) = delete;

    char* top() const { return stack + mapping(); }
    pid_t* tid() { return reinterpret_cast<pid_t*>(&alive); }
    /// The kernel clears `alive` when the child has left this memory, by its exec or its end.
    bool left() const { return alive.load(std::memory_order_acquire) == 0; }

    void note_exec() {
        const auto& [seconds, nanoseconds] = view.exec_at;
        if (launch.until_exec == nullptr || seconds == 0) return;
        const Instant exec{std::chrono::seconds(seconds) + Duration(nanoseconds / 1000)};
        launch.until_exec->add(exec - launch.asked);
    }

    char* stack = nullptr;
    pid_t pid = 0;
    Instant started;
    Launch launch;
    ChildView view{};
    std::vector<char*> environment;
    std::vector<int> sources;
    std::string listen_pid;
    sys::Fd cgroup;  ///< where the child writes itself into its group, if it is not born there
    bool overdue = false;
    std::atomic<int> alive = 0;
};

Result<void> add_filter(Launch& launch) {
    auto filter = launch.plan->filter();
    if (!filter) return std::unexpected(filter.error());
    if (!*filter) return {};
    launch.number.push_back(static_cast<int>(launch.descriptors.size()));
    launch.descriptors.push_back(std::move(*filter));
    return {};
}

Result<std::unique_ptr<Spawner>> Spawner::create(sys::Loop& loop, std::function<void(pid_t)> overdue) {
    sys::Interruption::prepare();  // the handler is inherited until the exec
    sys::Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return fail_errno("eventfd", errno);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
    std::unique_ptr<Spawner> spawner(
        new Spawner(std::move(wake), sys::Fd(ends[0]), sys::Fd(ends[1]).lifted(), std::move(overdue)));
    Spawner* self = spawner.get();
    auto source = loop.io(self->wake_.get(), EPOLLIN, [self](std::uint32_t) {
        eventfd_t count = 0;
        eventfd_read(self->wake_.get(), &count);
        self->sweep();
    });
    if (!source) return std::unexpected(source.error());
    self->wake_source_ = std::move(*source);
    auto timer = loop.timer([self] { self->check_deadlines(); });
    if (!timer) return std::unexpected(timer.error());
    self->deadline_ = std::move(*timer);
    return spawner;
}

Spawner::Spawner(sys::Fd wake, sys::Fd give_back, sys::Fd returns, std::function<void(pid_t)> overdue)
    : wake_(std::move(wake)),
      give_back_(std::move(give_back)),
      returns_(std::move(returns)),
      overdue_(std::move(overdue)) {}

Spawner::~Spawner() {
    // Stacks must not go away under children that still run on them; a child that cannot be killed keeps its stack.
    for (auto& slot : in_flight_) {
        if (!slot->left() && slot->pid > 0) kill(slot->pid, SIGKILL);
        for (const Instant end = now() + std::chrono::seconds(1); !slot->left() && now() < end;) sched_yield();
        if (!slot->left()) (void)slot.release();
    }
}

Result<pid_t> Spawner::spawn(Launch& launch) try {
    in_flight_.reserve(in_flight_.size() + 1);  // once the child runs, nothing may fail
    if (free_.empty() && !in_flight_.empty()) sweep();
    arm_deadline();
    std::unique_ptr<Slot> slot;
    if (free_.empty()) {
        slot = std::make_unique<Slot>();
        if (slot->stack == nullptr) return fail_errno("stack of a child", ENOMEM);
    } else {
        slot = std::move(free_.back());
        free_.pop_back();
    }
    Slot& s = *slot;
    s.launch = std::move(launch);
    Launch& l = s.launch;
    struct Back {  // without a child, the launch is the caller's again
        Slot& slot;
        Launch& to;
        const std::size_t given;
        bool started = false;
        ~Back() {
            if (started) return;
            slot.cgroup.reset();
            slot.launch.descriptors.resize(given);
            to = std::move(slot.launch);
        }
    } back{s, launch, l.descriptors.size()};
    s.environment = l.plan->environment();
    for (std::size_t i = 0; i < l.environment.size(); ++i) s.environment.push_back(l.environment.at(i));
    s.view = l.plan->view();
    if (l.listen_pid) {
        s.listen_pid = "LISTEN_PID=           ";
        s.environment.push_back(s.listen_pid.data());
        s.view.listen_pid = s.listen_pid.data() + 11;
    }
    s.environment.push_back(nullptr);
    s.view.death_signal = l.death_signal;
    s.sources.clear();
    s.view.wake = copies_table_ ? -1 : wake_.get();
    s.view.give_back = s.view.program < 0 || l.waits_for_client ? give_back_.get() : -1;
    s.view.highest = std::max({s.view.wake, give_back_.get(), s.view.program});
    s.view.holder = l.holder;
    for (const int index : l.number) {
        s.sources.push_back(l.descriptors[static_cast<std::size_t>(index)].get());
        s.view.highest = std::max(s.view.highest, s.sources.back());
    }
    s.view.number = ++number_;
    for (int* const number : {&s.view.holder, &s.view.ruleset}) {
        if (*number < 0) continue;
        // A low number of its own, which goes with the others once the child has left the table.
        sys::Fd low(fcntl(*number, F_DUPFD_CLOEXEC, 3));
        if (!low) {
            const int code = errno;
            free_.push_back(std::move(slot));
            return fail_errno("sandbox of a child", code);
        }
        *number = low.get();
        s.view.highest = std::max(s.view.highest, *number);
        l.descriptors.push_back(std::move(low));
    }
    s.view.sources = s.sources.data();
    s.view.count = static_cast<int>(s.sources.size());
    s.view.environment = s.environment.data();
    s.overdue = false;
    s.started = now();
    s.alive.store(1, std::memory_order_relaxed);

    const auto pid = clone_child(s);
    if (!pid) {
        free_.push_back(std::move(slot));
        return pid;
    }
    back.started = true;
    s.pid = *pid;
    if (copies_table_) release(s);
    in_flight_.push_back(std::move(slot));
    return s.pid;
} catch (const std::bad_alloc&) {  // before there is a child
    return no_memory();
}

void Spawner::release(Slot& slot) {
    slot.launch.descriptors.clear();
    slot.cgroup.reset();
    int& state = slot.view.released;
    if (__atomic_exchange_n(&state, static_cast<int>(released), __ATOMIC_ACQ_REL) == awaited)
        syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

Result<pid_t> Spawner::clone_child(Slot& slot) {
    const int namespaces = slot.view.sandbox.namespaces;
    const int flags = kChildFlags | (copies_table_ ? 0 : CLONE_FILES);
    slot.view.cgroup = -1;
    if ((namespaces & CLONE_NEWPID) == 0 || slot.view.holder < 0) {
        if (auto back = pids_.come_back(); !back) return std::unexpected(back.error());
        const long pid = clone_in_group(slot, flags);
        if (pid < 0) return fail_errno("clone", static_cast<int>(-pid));
        return static_cast<pid_t>(pid);
    }
    if ((namespaces & CLONE_NEWUSER) != 0) {
        if (!between_) between_ = std::make_unique<Slot>();
        if (between_->stack == nullptr) return fail_errno("stack of a child", ENOMEM);
        if (const int code = open_group(slot); code != 0) return fail_errno("cgroup.procs", code);
        return clone_as_owner(slot.view, flags, slot.top(), slot.tid(), between_->top());
    }
    if (auto entered = pids_.enter(slot.view.holder); !entered) return std::unexpected(entered.error());
    const long pid = clone_in_group(slot, flags);
    (void)pids_.come_back();
    if (pid < 0) return fail_errno("clone", static_cast<int>(-pid));
    return static_cast<pid_t>(pid);
}

long Spawner::clone_in_group(Slot& slot, int flags) {
    const int cgroup = slot.launch.cgroup;
    if (cgroup >= 0 && born_into_) {
        const std::size_t size = mapping() - guard();
        const long pid = clone_into(cgroup, child_main, slot.top() - size, size, static_cast<unsigned>(flags),
                                    &slot.view, slot.tid());
        // EPERM: a filter's answer. If the group is at fault, the child meets it as well.
        if (pid != -ENOSYS && pid != -EINVAL && pid != -E2BIG && pid != -EPERM) return pid;
        born_into_ = false;
    }
    if (const int code = open_group(slot); code != 0) return -code;
    const int pid = clone(child_main, slot.top(), flags, &slot.view, nullptr, nullptr, slot.tid());
    return pid < 0 ? -errno : pid;
}

int Spawner::open_group(Slot& slot) {
    if (slot.launch.cgroup < 0) return 0;
    slot.cgroup = sys::Fd(openat(slot.launch.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!slot.cgroup) return errno;
    slot.view.cgroup = slot.cgroup.get();
    return 0;
}

void Spawner::sweep() {
    for (std::size_t i = 0; i < in_flight_.size();) {
        Slot& slot = *in_flight_[i];
        const bool left = slot.left();
        if (!slot.launch.descriptors.empty() && (left || __atomic_load_n(&slot.view.detached, __ATOMIC_ACQUIRE) != 0)) {
            // A handler may have set linger on its connection and be gone already: then this closes the connection for
            // good.
            const sys::Dropping dropping;
            slot.launch.descriptors.clear();
        }
        if (left || __atomic_load_n(&slot.view.detached, __ATOMIC_ACQUIRE) != 0) slot.cgroup.reset();
        // A failure stays until its child is reaped and reaped() asks for the reason.
        if (left && slot.view.failed_step == 0) {
            slot.note_exec();
            free_.push_back(std::move(in_flight_[i]));
            in_flight_[i] = std::move(in_flight_.back());
            in_flight_.pop_back();
        } else {
            ++i;
        }
    }
}

bool Spawner::settle(Duration most) {
    const Instant end = now() + most;
    for (;;) {
        sweep();
        if (in_flight_.empty()) return true;
        if (now() >= end) return false;
        usleep(100);
    }
}

std::optional<SpawnFailure> Spawner::reaped(pid_t pid) {
    std::optional<SpawnFailure> failure;
    for (auto& slot : in_flight_) {
        if (slot->pid != pid) continue;
        if (const int step = slot->view.failed_step; step != 0)
            failure = SpawnFailure{static_cast<Step>(step), slot->view.failed_code, returned(slot->view.number)};
        if (failure && !failure->connection && !slot->launch.descriptors.empty())
            failure->connection = std::move(slot->launch.descriptors[0]);
        if (failure && slot->launch.waits_for_client) failure->connection = waiting_in(std::move(failure->connection));
        slot->view.failed_step = 0;
        slot->pid = 0;
        slot->alive.store(0, std::memory_order_relaxed);  // dead, whatever the kernel has noted
        break;
    }
    sweep();
    return failure;
}

sys::GuardedFd Spawner::waiting_in(sys::GuardedFd pair) {
    sys::Fd connection;
    char byte;
    if (pair) (void)receive_with_descriptor(pair.get(), &byte, sizeof byte, connection);
    return connection;
}

sys::GuardedFd Spawner::returned(long number) {
    for (;;) {
        long from = 0;
        sys::Fd connection;
        if (receive_with_descriptor(returns_.get(), &from, sizeof from, connection) != sizeof from) break;
        if (connection) returned_.emplace_back(from, std::move(connection));
    }
    const auto at = std::ranges::find(returned_, number, &std::pair<long, sys::GuardedFd>::first);
    if (at == returned_.end()) return {};
    sys::GuardedFd connection = std::move(at->second);
    returned_.erase(at);
    return connection;
}

void Spawner::arm_deadline() {
    if (deadline_armed_) return;
    constexpr std::size_t kSmall = 256;
    copies_table_ = sys::descriptor_table_size().value_or(kSmall + 1) <= kSmall;
    deadline_armed_ = deadline_.arm(now() + std::chrono::seconds(1)).has_value();
}

void Spawner::check_deadlines() {
    deadline_armed_ = false;
    sweep();
    const Instant late = now() - kExecDeadline;
    for (const auto& slot : in_flight_) {
        if (slot->left() || slot->overdue || slot->started > late) continue;
        slot->overdue = true;
        kill(slot->pid, SIGKILL);
        overdue_(slot->pid);
    }
    if (!in_flight_.empty()) arm_deadline();
}

}  // namespace superd::proc
