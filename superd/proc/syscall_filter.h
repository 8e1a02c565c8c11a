// SPDX-License-Identifier: MIT
#pragma once
// What of a sandbox the kernel judges call by call, as one program for seccomp(2).

#include <linux/filter.h>

#include <span>
#include <vector>

#include "conf/sandbox.h"

namespace superd::proc {

/// How a handler comes to its client.
enum class Start {
    direct,  ///< the child of superd that gets the filter executes it
    parked,  ///< superd-exec does, once there is a client
    warm,    ///< it is traced until it is parked, and copied
};
/// Calls by which superd itself starts or keeps such a handler, under the filter. superd.toml(5) lists them.
std::vector<int> own_calls(Start start);

/// Empty: there is nothing to judge. `also`: own_calls(), which sandbox.syscalls does not refuse. A call of another
/// processor's table (i386, x32) is refused as a whole.
///
/// Calls are looked up by halves in a table of ranges, which is shorter and loads faster than a test for each call.
std::vector<sock_filter> syscall_filter(const conf::Sandbox& sandbox, std::span<const int> also = {});

}  // namespace superd::proc
