// SPDX-License-Identifier: MIT
#pragma once
// clone(2) into a control group. Only clone3(2) can do that, and the C library has no function for it.

#include <sys/types.h>

#include <cstddef>

namespace superd::proc {

/// As clone(2) with `flags`, the signal included, but the child is born in the group whose folder is `cgroup`. Returns
/// what the kernel does: a pid, or minus errno; -ENOSYS, -EINVAL or -E2BIG before Linux 5.7.
long clone_into(int cgroup, int (*main)(void*), char* stack, std::size_t stack_size, unsigned flags, void* argument,
                int* cleared);

}  // namespace superd::proc
