// SPDX-License-Identifier: MIT
#pragma once
// aarch64, as described in warm/processor.h.

#include <elf.h>
#include <linux/audit.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

#include <cstddef>
#include <cstring>

#include "proc/raw_syscall.h"
#include "warm/rules.h"

/// The last instruction of `resume`.
extern "C" const unsigned char superd_warm_way_back[] __attribute__((visibility("hidden")));
extern "C" const unsigned char __start_warm_stub[] __attribute__((visibility("hidden")));

namespace superd::warm {

using Registers = user_regs_struct;
constexpr unsigned kArchitecture = AUDIT_ARCH_AARCH64;
/// No register is free for the jump back, so it is one instruction with the distance in it: 128 MiB at most.
constexpr unsigned long kReach = 120UL << 20;
constexpr unsigned char kCall[] = {0x01, 0x00, 0x00, 0xd4};  // svc #0

constexpr Rule kRules[] = {{-1, Look::first}};

inline unsigned long call_address(const Registers& r) {
    return r.pc - sizeof kCall;
}
inline bool set_number(int thread, Registers&, long number) {
    int value = static_cast<int>(number);
    iovec part{&value, sizeof value};
    return ptrace(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &part) == 0;
}
/// At the stops of a call x7 says which stop it is, so its value comes from `after`, a stop of another kind; by then x0
/// is the result.
inline Registers at_call(const Registers& entered, const Registers& after) {
    Registers r = after;
    r.regs[0] = entered.regs[0];
    r.pc = call_address(entered);
    return r;
}
inline void set_call(Registers& r, long number, const long (&a)[6]) {
    r.regs[8] = static_cast<unsigned long>(number);
    for (int i = 0; i < 6; ++i) r.regs[i] = static_cast<unsigned long>(a[i]);
}
inline long result(const Registers& r) {
    return static_cast<long>(r.regs[0]);
}
inline void set_stub(Registers& r, unsigned long code, unsigned long stack, unsigned long data) {
    r.pc = code;
    r.sp = stack;
    r.regs[0] = data;
}
/// `code` is the stub's copy, which will lie at `at`.
inline void set_way_back(unsigned char* code, unsigned long at, unsigned long target) {
    const auto offset = static_cast<unsigned long>(superd_warm_way_back - __start_warm_stub);
    const auto words = static_cast<unsigned>((static_cast<long>(target - at - offset)) >> 2);
    const unsigned branch = 0x14000000U | (words & 0x03ffffffU);
    std::memcpy(code + offset, &branch, sizeof branch);
}

SUPERD_CHILD [[gnu::always_inline]] static inline long copy_process(long flags, long tid) {
    return proc::raw_syscall(SYS_clone, flags, 0, 0, 0, tid);
}

/// Restores the signal mask and goes to where `r` says. It writes nothing to the program's stack; a waiting signal is
/// delivered there.
SUPERD_CHILD [[noreturn, gnu::always_inline]] static inline void resume(const Registers* r, const void* mask) {
    register const Registers* base __asm__("x19") = r;
    register const void* second __asm__("x1") = mask;
    __asm__ volatile(
        "ldr x2, [x19, %[pstate]]\n msr nzcv, x2\n"
        "ldr x2, [x19, %[sp]]\n mov sp, x2\n"
        "mov x0, #2\n mov x2, #0\n mov x3, #8\n mov x8, %[call]\n svc #0\n"
        "ldp x0, x1, [x19, #0]\n ldp x2, x3, [x19, #16]\n ldp x4, x5, [x19, #32]\n ldp x6, x7, [x19, #48]\n"
        "ldp x8, x9, [x19, #64]\n ldp x10, x11, [x19, #80]\n ldp x12, x13, [x19, #96]\n ldp x14, x15, [x19, #112]\n"
        "ldp x16, x17, [x19, #128]\n ldr x18, [x19, #144]\n ldp x20, x21, [x19, #160]\n ldp x22, x23, [x19, #176]\n"
        "ldp x24, x25, [x19, #192]\n ldp x26, x27, [x19, #208]\n ldp x28, x29, [x19, #224]\n ldr x30, [x19, #240]\n"
        "ldr x19, [x19, #152]\n"
        ".globl superd_warm_way_back\n .hidden superd_warm_way_back\n"
        "superd_warm_way_back: b .\n"
        :
        : "r"(base), "r"(second), [call] "i"(SYS_rt_sigprocmask), [pstate] "i"(offsetof(Registers, pstate)),
          [sp] "i"(offsetof(Registers, sp))
        : "memory");
    __builtin_unreachable();
}

}  // namespace superd::warm
