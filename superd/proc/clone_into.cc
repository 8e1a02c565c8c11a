// SPDX-License-Identifier: MIT
#include "proc/clone_into.h"

#include <linux/sched.h>
#include <sys/syscall.h>

#include <cstdint>

#include "proc/raw_syscall.h"

namespace superd::proc {
namespace {

/// The child has its own stack and no frame of this function: it goes straight to `main`, and from there to its end.
#if defined(__x86_64__)
SUPERD_CHILD __attribute__((noinline)) long clone3(clone_args* args, int (*main)(void*), void* argument) {
    long result;
    register auto entry __asm__("r8") = main;
    register auto word __asm__("r9") = argument;
    __asm__ volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "xor %%ebp, %%ebp\n\t"
        "mov %%r9, %%rdi\n\t"
        "call *%%r8\n\t"
        "mov %%eax, %%edi\n\t"
        "mov %[exit], %%eax\n\t"
        "syscall\n\t"
        "hlt\n"
        "1:"
        : "=a"(result)
        : "a"(static_cast<long>(SYS_clone3)), "D"(args), "S"(sizeof *args), "r"(entry), "r"(word), [exit] "i"(SYS_exit)
        : "rcx", "r11", "memory", "cc");
    return result;
}
#elif defined(__aarch64__)
SUPERD_CHILD __attribute__((noinline)) long clone3(clone_args* args, int (*main)(void*), void* argument) {
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = static_cast<long>(reinterpret_cast<std::intptr_t>(args));
    register long x1 __asm__("x1") = sizeof *args;
    register auto entry __asm__("x9") = main;
    register auto word __asm__("x10") = argument;
    __asm__ volatile(
        "svc #0\n\t"
        "cbnz x0, 1f\n\t"
        "mov x29, #0\n\t"
        "mov x0, x10\n\t"
        "blr x9\n\t"
        "mov x8, %[exit]\n\t"
        "svc #0\n\t"
        "brk #0\n"
        "1:"
        : "+r"(x0)
        : "r"(x8), "r"(x1), "r"(entry), "r"(word), [exit] "i"(SYS_exit)
        : "memory", "cc");
    return x0;
}
#endif

}  // namespace

long clone_into(int cgroup, int (*main)(void*), char* stack, std::size_t stack_size, unsigned flags, void* argument,
                int* cleared) {
    const auto address = [](auto* pointer) {
        return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer));
    };
    clone_args args{};
    args.flags = (flags & ~0xffU) | CLONE_INTO_CGROUP;
    args.exit_signal = flags & 0xffU;
    args.stack = address(stack);
    args.stack_size = stack_size;
    args.child_tid = address(cleared);
    args.cgroup = static_cast<std::uint64_t>(cgroup);
    return clone3(&args, main, argument);
}

}  // namespace superd::proc
