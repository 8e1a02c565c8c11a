// SPDX-License-Identifier: MIT
#include "warm/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace superd::warm {
namespace {

using namespace proc::warm;

constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                          PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
}  // namespace

void tell(int channel, Obstacle obstacle, int code, const char* detail) {
    Report report{};
    report.word = Word::report;
    report.obstacle = obstacle;
    report.code = code;
    std::snprintf(report.detail, sizeof report.detail, "%s", detail);
    send(channel, &report, sizeof report, MSG_NOSIGNAL);
}

long Tracer::left_ms() const {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (end_.tv_sec - now.tv_sec) * 1000 + (end_.tv_nsec - now.tv_nsec) / 1'000'000;
}

/// Kills it, so that no half-prepared handler runs on; EXITKILL covers all other cases.
void Tracer::give_up(Obstacle obstacle, int code, const char* detail) {
    if (over_) return;
    over_ = true;
    tell(channel_, obstacle, code, detail);
    if (process_ >= 0) syscall(SYS_pidfd_send_signal, process_, SIGKILL, nullptr, 0);
}

/// The next stop or end of one thread, or of any (-1); 0: none can come, or the time is over. SIGCHLD is blocked.
pid_t Tracer::next_stop(pid_t which, int& status) {
    for (;;) {
        const pid_t id = waitpid(-1, &status, __WALL | WNOHANG);
        if (id > 0 && (which == -1 || id == which)) return id;
        if (id > 0) {  // the others stand still; the kernel tells of a leader's end when theirs have been heard
            if (!WIFSTOPPED(status)) ended(id, status);
            continue;
        }
        if (id < 0 && errno != EINTR) return 0;
        const long ms = left_ms();
        if (ms <= 0) {
            give_up(Obstacle::untouched);
            return 0;
        }
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        const timespec most{ms / 1000, ms % 1000 * 1'000'000};
        sigtimedwait(&child, nullptr, &most);
    }
}

Thread* Tracer::find(pid_t id) {
    for (unsigned i = 0; i < count_; ++i)
        if (threads_[i].id == id) return &threads_[i];
    if (count_ == kMostThreads) {
        give_up(Obstacle::too_many_threads);
        return nullptr;
    }
    threads_[count_] = {id, nullptr, false, 0};
    return &threads_[count_++];
}

void Tracer::ended(pid_t id, int status) {
    for (unsigned i = 0; i < count_; ++i)
        if (threads_[i].id == id) threads_[i--] = threads_[--count_];
    if (id != leader_) return;
    if (started_) return give_up(Obstacle::ended, status);
    give_up(Obstacle::not_executed, WIFEXITED(status) ? WEXITSTATUS(status) : 0);  // it passes errno as its status
}

bool Tracer::seize(int ready) {
    if (recv(channel_, &order_, sizeof order_, MSG_DONTWAIT) != sizeof order_) return false;
    clock_gettime(CLOCK_MONOTONIC, &end_);
    end_.tv_sec += order_.within_ms / 1000;
    end_.tv_nsec += static_cast<long>(order_.within_ms % 1000) * 1'000'000;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, nullptr);
    process_ = static_cast<int>(syscall(SYS_pidfd_open, leader_, 0));
    if (process_ < 0) return false;
    if (ptrace(PTRACE_SEIZE, leader_, 0, kOptions) != 0) {
        give_up(Obstacle::cannot_trace, errno);
        return false;
    }
    int status;
    if (ptrace(PTRACE_INTERRUPT, leader_) != 0 || next_stop(leader_, status) != leader_ || !WIFSTOPPED(status)) {
        give_up(Obstacle::cannot_trace, errno);
        return false;
    }
    find(leader_);
    go_on(leader_);
    return write(ready, "g", 1) == 1;
}

void Tracer::run() {
    while (!over_) {
        int status;
        const pid_t id = next_stop(-1, status);
        if (id == 0) return give_up(Obstacle::ended);
        if (!WIFSTOPPED(status)) {
            ended(id, status);
        } else if (Thread* thread = find(id)) {
            stopped(*thread, status);
        }
    }
}

void Tracer::stopped(Thread& thread, int status) {
    const int signal = WSTOPSIG(status), event = status >> 16;
    if (signal == kCallStop) {
        __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread.id, sizeof info, &info) <= 0)
            return give_up(Obstacle::cannot_trace, errno);
        return info.op == PTRACE_SYSCALL_INFO_ENTRY ? entered(thread, info) : left(thread, info);
    }
    switch (event) {
        case 0:
            return go_on(thread.id, signal);
        case PTRACE_EVENT_EXEC:
            executed();
            break;
        case PTRACE_EVENT_CLONE:
        case PTRACE_EVENT_FORK:
        case PTRACE_EVENT_VFORK:
            cloned(thread, event);
            break;
        case PTRACE_EVENT_STOP:
            if (signal != SIGTRAP) {  // stopped by a signal; it stays stopped, and the time runs
                ptrace(PTRACE_LISTEN, thread.id, 0, 0);
                return;
            }
            break;
        default:
            break;
    }
    if (!over_) go_on(thread.id);
}

void Tracer::executed() {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%d/exe", leader_);
    // Other threads have ended with it, and so has what it had told the kernel about itself.
    for (unsigned i = 0; i < count_; ++i)
        if (threads_[i].id != leader_) threads_[i--] = threads_[--count_];
    started_ = true;
    timer_ = false;
    data_.tid_address = data_.robust_list = data_.robust_size = 0;
    if (access(path, F_OK) != 0) return give_up(Obstacle::no_proc, errno);
    if (gains_privilege(path)) return give_up(Obstacle::set_id);
    files_.tell_open(leader_, "exe");
}

void Tracer::cloned(Thread& thread, int event) {
    unsigned long id = 0;
    ptrace(PTRACE_GETEVENTMSG, thread.id, 0, &id);
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/task/%lu", leader_, id);
    if (event != PTRACE_EVENT_CLONE || access(path, F_OK) != 0) return give_up(Obstacle::forked);
    find(static_cast<pid_t>(id));
}

void Tracer::entered(Thread& thread, const __ptrace_syscall_info& info) {
    thread.rule = rule_of(static_cast<long>(info.entry.nr));
    if (!started_) return go_on(thread.id);
    if (info.arch != kArchitecture) return give_up(Obstacle::other_calls);
    Arguments a;
    std::copy_n(info.entry.args, 6, a);
    if (thread.rule != nullptr) {
        if (thread.rule->look == Look::asynchronous) return give_up(Obstacle::asynchronous);
        if (touches(leader_, *thread.rule, a, order_.errors_to_client != 0)) return park(thread);
        note(*thread.rule, a, thread.id == leader_);
    }
    go_on(thread.id);
}

void Tracer::note(const Rule& rule, const Arguments& a, bool leader) {
    constexpr std::uint64_t kNonBlocking = 1;  // GRND_NONBLOCK
    switch (rule.look) {
        case Look::pid:
            facts_ |= kAskedPid;
            break;
        case Look::random:
            // glibc's malloc draws a key this way in every program; nothing that a client sees depends on it.
            if (a[1] != 8 || a[2] != kNonBlocking) facts_ |= kDrewRandom;
            break;
        case Look::timer:
            timer_ = true;
            break;
        case Look::tid_address:
            if (leader) data_.tid_address = static_cast<long>(a[0]);
            break;
        case Look::robust_list:
            if (leader) {
                data_.robust_list = static_cast<long>(a[0]);
                data_.robust_size = static_cast<long>(a[1]);
            }
            break;
        default:
            break;
    }
}

void Tracer::left(Thread& thread, const __ptrace_syscall_info& info) {
    if (thread.rule != nullptr && thread.rule->look == Look::open && info.exit.rval >= 0 && started_) {
        char name[32];
        std::snprintf(name, sizeof name, "fd/%lld", static_cast<long long>(info.exit.rval));
        if (files_.tell_open(leader_, name)) facts_ |= kDrewRandom;
    }
    thread.rule = nullptr;
    go_on(thread.id);
}

}  // namespace superd::warm
