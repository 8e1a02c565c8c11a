// SPDX-License-Identifier: MIT
// The last steps: the whole handler stands still, and one of its threads gets the stub.
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "proc/parked/message.h"
#include "warm/tracer.h"

namespace superd::warm {

using namespace proc::warm;

/// So that no thread touches the client while there is none. Each stays where it is, whatever it was doing.
bool Tracer::stop_others(const Thread& thread) {
    const pid_t first = thread.id;
    for (unsigned i = 0; i < count_; ++i) threads_[i].stopped = threads_[i].id == first;
    for (unsigned i = 0; i < count_; ++i)
        if (threads_[i].id != first) ptrace(PTRACE_INTERRUPT, threads_[i].id);
    for (;;) {
        const bool all = std::all_of(threads_, threads_ + count_, [](const Thread& t) { return t.stopped; });
        if (all) return true;
        int status;
        const pid_t id = next_stop(-1, status);
        if (id == 0) return false;
        if (!WIFSTOPPED(status)) {
            ended(id, status);
            if (over_) return false;
            continue;
        }
        Thread* other = find(id);
        if (other == nullptr) return false;
        const int event = status >> 16, signal = WSTOPSIG(status);
        if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK)
            cloned(*other, event);
        if (event == PTRACE_EVENT_EXEC) give_up(Obstacle::forked);  // the thread to be parked is gone
        if (over_) return false;
        other->stopped = true;
        other->signal = event == 0 && signal != kCallStop ? signal : 0;
    }
}

bool Tracer::wait_for_call_stop(pid_t id) {
    for (;;) {
        ptrace(PTRACE_SYSCALL, id, 0, 0);
        int status;
        if (next_stop(id, status) != id) return false;
        if (!WIFSTOPPED(status)) return ended(id, status), false;
        if (WSTOPSIG(status) == kCallStop) return true;  // otherwise SIGSTOP: all others are blocked
    }
}

/// Cancels the call that was entered. Leaves the thread where calls can be made in its name.
bool Tracer::hold_call(pid_t id) {
    Registers entered{}, after{};
    if (!get_registers(id, entered)) return false;
    Registers other = entered;
    // A call without effect instead of none (-1), which a filter of the program may punish.
    if (!set_number(id, other, SYS_getpid) || !set_registers(id, other) || !wait_for_call_stop(id)) return false;
    if (ptrace(PTRACE_INTERRUPT, id) != 0 || ptrace(PTRACE_CONT, id, 0, 0) != 0) return false;
    int status;
    if (next_stop(id, status) != id || !WIFSTOPPED(status) || !get_registers(id, after)) return false;
    base_ = at_call(entered, after);
    parked_at_ = call_address(entered);
    unsigned char instruction[sizeof kCall];
    return read_memory(id, parked_at_, instruction, sizeof kCall) && std::memcmp(instruction, kCall, sizeof kCall) == 0;
}

bool Tracer::call(pid_t id, long number, const long (&arguments)[6], long& value) {
    Registers r = base_;
    set_call(r, number, arguments);
    if (!set_registers(id, r) || !wait_for_call_stop(id) || !wait_for_call_stop(id) || !get_registers(id, r))
        return false;
    value = result(r);
    return true;
}

/// If the way back from the stub is a branch of limited reach, several places are tried.
unsigned long Tracer::map_near(pid_t id, unsigned long size) {
    const unsigned long from = parked_at_;
    for (unsigned long step = 0;; ++step) {
        const unsigned long hint = kReach == 0 ? 0 : (from - kReach + (step + 1) * (kReach / 8)) & ~0xffffUL;
        long at = 0;
        if (!call(id, SYS_mmap,
                  {static_cast<long>(hint), static_cast<long>(size), PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0},
                  at))
            return 0;
        if (at < 0 && at > -4096) return errno = static_cast<int>(-at), 0;
        const auto place = static_cast<unsigned long>(at);
        const unsigned long distance = place > from ? place - from : from - place;
        if (kReach == 0 || distance < kReach) return place;
        call(id, SYS_munmap, {at, static_cast<long>(size)}, at);
        if (step == 14) return errno = ENOMEM, 0;
    }
}

/// What prevents copies, and what they have to do.
Obstacle Tracer::judge() {
    data_.clone_flags = CLONE_PARENT | SIGCHLD;
    // glibc keeps the thread's number there, and its own fork has it set; musl has a lock there.
    std::uint32_t word = 0;
    if (data_.tid_address != 0 &&
        read_memory(leader_, static_cast<unsigned long>(data_.tid_address), &word, sizeof word) &&
        word == static_cast<std::uint32_t>(leader_))
        data_.clone_flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    char of_files[sizeof report_.detail] = "";
    const Obstacle memory = look_at_memory(leader_, files_, report_.detail);
    const Obstacle files = look_at_files(leader_, data_, of_files);
    if (files != Obstacle::none) std::memcpy(report_.detail, of_files, sizeof of_files);
    if (memory == Obstacle::no_proc || files == Obstacle::no_proc) return Obstacle::no_proc;
    if (count_ > 1) return report_.detail[0] = '\0', Obstacle::threads;
    if (timer_) return report_.detail[0] = '\0', Obstacle::timer;
    return files != Obstacle::none ? files : memory;
}

/// A name that only the stub knows; it may ask for its channel there.
bool Tracer::listen() {
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    data_.tracer.sun_family = AF_UNIX;
    data_.tracer_length = sizeof data_.tracer;
    auto* address = reinterpret_cast<sockaddr*>(&data_.tracer);
    return listener_ >= 0 && bind(listener_, address, sizeof data_.tracer.sun_family) == 0 &&
           ::listen(listener_, 64) == 0 && getsockname(listener_, address, &data_.tracer_length) == 0;
}

bool Tracer::place_stub(pid_t id, Registers& start) {
    const auto page = static_cast<unsigned long>(sysconf(_SC_PAGESIZE));
    const auto whole = [page](unsigned long size) { return (size + page - 1) / page * page; };
    unsigned char copy[4096];
    const auto length = static_cast<unsigned long>(__stop_warm_stub - __start_warm_stub);
    if (length > sizeof copy) return errno = E2BIG, false;
    const unsigned long code = map_near(id, whole(length));
    if (code == 0) return false;
    const unsigned long size = whole(sizeof data_ + kStubStack);
    long memory = 0, dumpable = 0;
    if (!call(id, SYS_mmap, {0, static_cast<long>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0},
              memory) ||
        !call(id, SYS_prctl, {PR_GET_DUMPABLE, 0, 0, 0, 0, 0}, dumpable))
        return false;
    if (memory < 0 && memory > -4096) return errno = static_cast<int>(-memory), false;
    data_.at_call = base_;
    data_.dumpable = static_cast<int>(dumpable);
    data_.stays = count_ > 1;
    std::memcpy(copy, __start_warm_stub, length);
    set_way_back(copy, code, parked_at_);
    const auto data = static_cast<unsigned long>(memory);
    if (!write_memory(id, code, copy, length) || !write_memory(id, data, &data_, sizeof data_)) return false;
    const auto entry = reinterpret_cast<const unsigned char*>(&stub) - __start_warm_stub;
    start = base_;
    set_stub(start, code + static_cast<unsigned long>(entry), data + size, data);
    return true;
}

void Tracer::park(Thread& thread) {
    const pid_t id = thread.id;
    if (!stop_others(thread)) return;
    const std::uint64_t all = ~0UL;
    if (ptrace(PTRACE_GETSIGMASK, id, sizeof data_.mask, &data_.mask) != 0 ||
        ptrace(PTRACE_SETSIGMASK, id, sizeof all, &all) != 0)
        return give_up(Obstacle::cannot_trace, errno);
    report_.word = Word::report;
    report_.obstacle = judge();
    report_.threads = count_;
    if (!is_parked(report_.obstacle)) return give_up(report_.obstacle);
    data_.copies = report_.obstacle == Obstacle::none;
    report_.facts = facts_ | (files_.more() ? std::uint32_t{kMoreFiles} : 0);
    Registers start{};
    errno = 0;
    if (!hold_call(id)) return give_up(Obstacle::other_calls, errno);
    if (!listen() || !place_stub(id, start)) return give_up(Obstacle::no_room, errno);
    // From here on no process may look into it, not even its tracer, so this comes after everything that is written to
    // it, and before it gets the channel.
    long r = 0;
    if (!call(id, SYS_prctl, {PR_SET_DUMPABLE, 0, 0, 0, 0, 0}, r) || r != 0 || !set_registers(id, start))
        return give_up(Obstacle::no_room, errno);
    send(channel_, &report_, sizeof report_, MSG_NOSIGNAL);
    if (ptrace(PTRACE_DETACH, id, 0, 0) != 0) return give_up(Obstacle::ended);
    give_channel();
}

void Tracer::give_channel() {
    while (!over_) {
        pollfd either[] = {{listener_, POLLIN, 0}, {process_, POLLIN, 0}};
        const long ms = left_ms();
        if (ms <= 0 || poll(either, 2, static_cast<int>(ms)) == 0) return give_up(Obstacle::untouched);
        if (either[1].revents != 0) return give_up(Obstacle::ended);
        tracing_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        ucred from{};
        socklen_t length = sizeof from;
        if (tracing_ < 0 || getsockopt(tracing_, SOL_SOCKET, SO_PEERCRED, &from, &length) != 0 || from.pid != leader_) {
            close(tracing_);
            continue;
        }
        char byte = 0;
        iovec part{&byte, 1};
        if (proc::parked::send_with_descriptor(tracing_, &part, 1, channel_, 0) != 1)
            return give_up(Obstacle::ended, errno);
        over_ = true;
        close(channel_);
        close(listener_);
        if (count_ > 1) stay();
    }
}

/// The others go on when the stub is gone; until then they stand still, and their tracer has to stay.
void Tracer::stay() {
    char nothing;
    while (read(tracing_, &nothing, 1) < 0 && errno == EINTR) {
    }
    for (unsigned i = 0; i < count_; ++i)
        ptrace(PTRACE_DETACH, threads_[i].id, 0, static_cast<long>(threads_[i].signal));
}

}  // namespace superd::warm
