// SPDX-License-Identifier: MIT
#pragma once
// x86-64, as described in warm/processor.h.

#include <linux/audit.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <cstddef>

#include "proc/raw_syscall.h"
#include "warm/rules.h"

namespace superd::warm {

using Registers = user_regs_struct;
constexpr unsigned kArchitecture = AUDIT_ARCH_X86_64;
constexpr unsigned long kReach = 0;
constexpr unsigned char kCall[] = {0x0f, 0x05};  // syscall

constexpr Rule kRules[] = {
    {SYS_dup2, Look::two},  {SYS_poll, Look::poll},  {SYS_select, Look::select},
    {SYS_open, Look::open}, {SYS_creat, Look::open}, {SYS_alarm, Look::timer},
};

inline unsigned long call_address(const Registers& r) {
    return r.rip - sizeof kCall;
}
inline bool set_number(int, Registers& r, long number) {
    r.orig_rax = static_cast<unsigned long>(number);
    return true;
}
inline Registers at_call(const Registers& entered, const Registers&) {
    Registers r = entered;
    r.rax = entered.orig_rax;
    r.rip = call_address(entered);
    return r;
}
inline void set_call(Registers& r, long number, const long (&a)[6]) {
    r.rax = static_cast<unsigned long>(number);
    r.orig_rax = ~0UL;  // nothing to restart
    unsigned long long* to[] = {&r.rdi, &r.rsi, &r.rdx, &r.r10, &r.r8, &r.r9};
    for (int i = 0; i < 6; ++i) *to[i] = static_cast<unsigned long>(a[i]);
}
inline long result(const Registers& r) {
    return static_cast<long>(r.rax);
}
inline void set_stub(Registers& r, unsigned long code, unsigned long stack, unsigned long data) {
    r.rip = code;
    r.rsp = stack - 8;  // as after a call
    r.rdi = data;
    r.rax = 0;
    r.orig_rax = ~0UL;
    r.eflags &= ~0x400UL;  // direction
}
/// The stub's way back needs no instruction of its own here.
inline void set_way_back(unsigned char*, unsigned long, unsigned long) {}

SUPERD_CHILD [[gnu::always_inline]] static inline long copy_process(long flags, long tid) {
    return proc::raw_syscall(SYS_clone, flags, 0, 0, tid, 0);
}

/// Restores the signal mask and goes to where `r` says. It writes nothing to the program's stack; a waiting signal is
/// delivered there.
SUPERD_CHILD [[noreturn, gnu::always_inline]] static inline void resume(const Registers* r, const void* mask) {
#define SUPERD_AT(field) [field] "i"(offsetof(Registers, field))
    __asm__ volatile(
        "pushq %c[eflags](%%rbx)\n popfq\n"
        "mov %c[rsp](%%rbx), %%rsp\n"
        "mov %[call], %%eax\n mov $2, %%edi\n mov $0, %%edx\n mov $8, %%r10d\n syscall\n"
        "mov %c[r15](%%rbx), %%r15\n mov %c[r14](%%rbx), %%r14\n mov %c[r13](%%rbx), %%r13\n"
        "mov %c[r12](%%rbx), %%r12\n mov %c[rbp](%%rbx), %%rbp\n mov %c[r10](%%rbx), %%r10\n"
        "mov %c[r9](%%rbx), %%r9\n mov %c[r8](%%rbx), %%r8\n mov %c[rax](%%rbx), %%rax\n"
        "mov %c[rdx](%%rbx), %%rdx\n mov %c[rsi](%%rbx), %%rsi\n mov %c[rdi](%%rbx), %%rdi\n"
        "mov %c[rip](%%rbx), %%rcx\n"  // which the call overwrites, as it does r11
        "mov %c[rbx](%%rbx), %%rbx\n"
        "jmp *%%rcx\n"
        :
        : "b"(r), "S"(mask), [call] "i"(SYS_rt_sigprocmask), SUPERD_AT(eflags), SUPERD_AT(rsp), SUPERD_AT(r15),
          SUPERD_AT(r14), SUPERD_AT(r13), SUPERD_AT(r12), SUPERD_AT(rbp), SUPERD_AT(r10), SUPERD_AT(r9), SUPERD_AT(r8),
          SUPERD_AT(rax), SUPERD_AT(rdx), SUPERD_AT(rsi), SUPERD_AT(rdi), SUPERD_AT(rip), SUPERD_AT(rbx)
        : "memory");
#undef SUPERD_AT
    __builtin_unreachable();
}

}  // namespace superd::warm
