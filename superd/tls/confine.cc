// SPDX-License-Identifier: MIT
#include "tls/confine.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "proc/bpf.h"

namespace superd::tls {
namespace {

using proc::BpfProgram;

#if defined(__x86_64__)
constexpr std::uint32_t kProcessor = AUDIT_ARCH_X86_64;
constexpr std::uint32_t kOtherTable = 0x40000000;  // x32
#else
constexpr std::uint32_t kProcessor = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kOtherTable = 0x80000000;
#endif

constexpr std::uint32_t kServing[] = {
    SYS_read,       SYS_write,        SYS_readv,          SYS_writev,        SYS_recvfrom,        SYS_sendto,
    SYS_recvmsg,    SYS_sendmsg,      SYS_shutdown,       SYS_close,         SYS_getsockopt,      SYS_setsockopt,
    SYS_epoll_ctl,  SYS_epoll_pwait,  SYS_getrandom,      SYS_clock_gettime, SYS_gettimeofday,    SYS_futex,
    SYS_munmap,     SYS_mremap,       SYS_madvise,        SYS_brk,           SYS_getpid,          SYS_exit_group,
    SYS_setitimer,  SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction,  SYS_restart_syscall,
#if defined(__x86_64__)
    SYS_epoll_wait, SYS_time,
#endif
#if defined(__SANITIZE_ADDRESS__)
    SYS_sched_yield, SYS_gettid, SYS_sigaltstack,
#endif
};

constexpr std::uint32_t low_half(int argument) {
    return static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                      sizeof(std::uint64_t) * static_cast<unsigned>(argument));
}

std::vector<sock_filter> filter() {
    BpfProgram program;
    const auto allow = program.answer(SECCOMP_RET_ALLOW);
    const auto kill = program.answer(SECCOMP_RET_KILL_PROCESS);
    const auto refuse = program.answer(SECCOMP_RET_ERRNO | EPERM);
    // What a library may ask for and can do without.
    auto next = kill;
    for (const std::uint32_t call : {SYS_openat, SYS_newfstatat, SYS_fstat, SYS_sysinfo, SYS_uname, SYS_ioctl,
                                     SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid})
        next = program.if_equal(static_cast<std::uint32_t>(call), refuse, next);
    const auto command = program.load(low_half(1), program.if_equal(F_SETFL, allow, refuse));
    next = program.if_equal(SYS_fcntl, command, next);
    // Memory that is not code.
    const auto memory = program.load(low_half(2), program.if_any_bit(PROT_EXEC, refuse, allow));
    next = program.if_equal(SYS_mmap, memory, next);
    next = program.if_equal(SYS_mprotect, memory, next);
    for (const std::uint32_t call : kServing) next = program.if_equal(call, allow, next);
    const auto number = program.load(offsetof(seccomp_data, nr), program.if_at_least(kOtherTable, kill, next));
    return program.take(program.load(offsetof(seccomp_data, arch), program.if_equal(kProcessor, number, kill)));
}

}  // namespace

void hide() {
    prctl(PR_SET_DUMPABLE, 0);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &none);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

std::string confine() {
    auto program = filter();
    const sock_fprog whole{static_cast<unsigned short>(program.size()), program.data()};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) == 0) return "";
    return std::string("its system calls cannot be confined: ") + std::strerror(errno);
}

}  // namespace superd::tls
