// SPDX-License-Identifier: MIT
#include "sys/system_calls.h"

#include <seccomp.h>

#include <cstdlib>

namespace superd::sys {
namespace {

/// Of a call that only other processors have, libseccomp gives a negative number.
int resolve(std::string_view name) {
    return seccomp_syscall_resolve_name_arch(SCMP_ARCH_NATIVE, std::string(name).c_str());
}

}  // namespace

std::optional<int> system_call(std::string_view name) {
    const int number = resolve(name);
    return number >= 0 ? std::optional(number) : std::nullopt;
}

bool is_system_call(std::string_view name) {
    return resolve(name) != __NR_SCMP_ERROR;
}

std::string system_call_name(int number) {
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    std::string found = name != nullptr ? name : "";
    std::free(name);
    return found;
}

}  // namespace superd::sys
