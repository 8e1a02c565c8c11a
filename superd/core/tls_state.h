// SPDX-License-Identifier: MIT
#pragma once
// A service's superd-tls over an upgrade, as plain values.

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace superd::core {

struct TlsState {
    std::uint64_t id = 0;
    pid_t pid = 0;
    int channel = -1;
    bool drained = false;
    std::vector<std::uint64_t> given, waiting;  ///< tickets
    std::uint64_t version = 1;                  ///< of what it speaks
};

}  // namespace superd::core
