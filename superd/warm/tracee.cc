// SPDX-License-Identifier: MIT
#include "warm/tracee.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace superd::warm {
namespace {

constexpr Rule kEverywhere[] = {
    {SYS_read, Look::first},
    {SYS_write, Look::first},
    {SYS_readv, Look::first},
    {SYS_writev, Look::first},
    {SYS_preadv2, Look::first},
    {SYS_pwritev2, Look::first},
    {SYS_close, Look::first},
    {SYS_dup, Look::first},
    {SYS_dup3, Look::two},
    {SYS_close_range, Look::range},
    {SYS_fcntl, Look::control},
    {SYS_ioctl, Look::terminal},
    {SYS_sendfile, Look::two},
    {SYS_splice, Look::outer},
    {SYS_tee, Look::two},
    {SYS_vmsplice, Look::first},
    {SYS_copy_file_range, Look::outer},
    {SYS_recvfrom, Look::first},
    {SYS_recvmsg, Look::first},
    {SYS_recvmmsg, Look::first},
    {SYS_sendto, Look::first},
    {SYS_sendmsg, Look::first},
    {SYS_sendmmsg, Look::first},
    {SYS_getpeername, Look::first},
    {SYS_getsockname, Look::first},
    {SYS_getsockopt, Look::option},
    {SYS_setsockopt, Look::first},
    {SYS_shutdown, Look::first},
    {SYS_accept, Look::first},
    {SYS_accept4, Look::first},
    {SYS_connect, Look::first},
    {SYS_bind, Look::first},
    {SYS_listen, Look::first},
    {SYS_ppoll, Look::polls_until},
    {SYS_pselect6, Look::select},
    {SYS_epoll_ctl, Look::third},
    {SYS_openat, Look::open},
    {SYS_openat2, Look::open},
    {SYS_getpid, Look::pid},
    {SYS_getrandom, Look::random},
    {SYS_timer_create, Look::timer},
    {SYS_setitimer, Look::timer},
    {SYS_io_uring_setup, Look::asynchronous},
    {SYS_io_setup, Look::asynchronous},
    {SYS_set_tid_address, Look::tid_address},
    {SYS_set_robust_list, Look::robust_list},
};

/// Calls that only ask, and that any socket answers in the same way.
bool asks_only(const Rule& rule, std::uint64_t what) {
    constexpr std::uint64_t kTerminal2 = 0x802c542a;  // TCGETS2, missing in some headers
    return rule.look == Look::control
               ? what == F_GETFL || what == F_GETFD || what == F_SETFD
               : static_cast<std::uint32_t>(what) == TCGETS || static_cast<std::uint32_t>(what) == TIOCGWINSZ ||
                     static_cast<std::uint32_t>(what) == kTerminal2;
}

/// `at_once`: the call does not wait. If it also asks for nothing, it checks whether the descriptors are open (Rust's
/// start).
bool polls(pid_t process, std::uint64_t at, std::uint64_t count, bool at_once, int most) {
    pollfd some[64];
    if (count > 65536) return true;  // a program that polls so many is parked, whatever they are
    while (count > 0) {
        const std::uint64_t n = std::min<std::uint64_t>(count, std::size(some));
        if (!read_memory(process, at, some, n * sizeof *some)) return false;  // the call reports EFAULT
        for (std::uint64_t i = 0; i < n; ++i)
            if (some[i].fd >= 0 && some[i].fd <= most && (some[i].events != 0 || !at_once)) return true;
        count -= n;
        at += n * sizeof *some;
    }
    return false;
}

bool is_now(pid_t process, std::uint64_t at) {
    timespec wait{1, 0};
    return at != 0 && read_memory(process, at, &wait, sizeof wait) && wait.tv_sec == 0 && wait.tv_nsec == 0;
}

bool selects(pid_t process, const std::uint64_t (&a)[6], int most) {
    const int n = std::min(static_cast<int>(a[0]), most + 1);
    for (int set = 1; set <= 3 && n > 0; ++set) {
        unsigned long bits = 0;
        if (a[set] != 0 && read_memory(process, a[set], &bits, sizeof bits) && (bits & ((1UL << n) - 1)) != 0)
            return true;
    }
    return false;
}

/// What kind of socket it is: the placeholder is of the same.
bool asks_for_kind(std::uint64_t level, std::uint64_t name) {
    return level == SOL_SOCKET && (name == SO_TYPE || name == SO_ACCEPTCONN);
}

}  // namespace

bool read_memory(pid_t process, unsigned long from, void* to, unsigned long size) {
    iovec here{to, size}, there{reinterpret_cast<void*>(from), size};
    return process_vm_readv(process, &here, 1, &there, 1, 0) == static_cast<ssize_t>(size);
}

bool write_memory(pid_t process, unsigned long to, const void* from, unsigned long size) {
    for (unsigned long i = 0; i < size; i += sizeof(long)) {
        long word = 0;
        std::memcpy(&word, static_cast<const char*>(from) + i, std::min(sizeof word, size - i));
        if (ptrace(PTRACE_POKEDATA, process, to + i, word) != 0) return false;
    }
    return true;
}

bool get_registers(pid_t thread, Registers& registers) {
    iovec part{&registers, sizeof registers};
    return ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &part) == 0;
}

bool set_registers(pid_t thread, Registers registers) {
    iovec part{&registers, sizeof registers};
    return ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &part) == 0;
}

const Rule* rule_of(long number) {
    for (const Rule& rule : kEverywhere)
        if (rule.number == number) return &rule;
    for (const Rule& rule : kRules)
        if (rule.number == number) return &rule;
    return nullptr;
}

bool touches(pid_t process, const Rule& rule, const std::uint64_t (&a)[6], bool errors_to_client) {
    const int most = errors_to_client ? 2 : 1;
    const auto client = [&](std::uint64_t argument) {
        const int fd = static_cast<int>(argument);
        return fd >= 0 && fd <= most;
    };
    switch (rule.look) {
        case Look::first:
            return client(a[0]);
        case Look::two:
            return client(a[0]) || client(a[1]);
        case Look::outer:
            return client(a[0]) || client(a[2]);
        case Look::third:
            return client(a[2]);
        case Look::range:
            return static_cast<std::uint32_t>(a[0]) <= static_cast<std::uint32_t>(most);
        case Look::option:
            return client(a[0]) && !asks_for_kind(a[1], a[2]);
        case Look::control:
        case Look::terminal:
            return client(a[0]) && !asks_only(rule, a[1]);
        case Look::poll:
            return polls(process, a[0], static_cast<std::uint32_t>(a[1]), static_cast<int>(a[2]) == 0, most);
        case Look::polls_until:
            return polls(process, a[0], static_cast<std::uint32_t>(a[1]), is_now(process, a[2]), most);
        case Look::select:
            return selects(process, a, most);
        default:
            return false;
    }
}

}  // namespace superd::warm
