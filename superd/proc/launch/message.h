// SPDX-License-Identifier: MIT
#pragma once
// What passes between superd and superd-launch, over the SOCK_SEQPACKET pair on its stdin. Both are built together,
// but an upgrade in place may change superd under a superd-launch that runs: whoever changes anything here, or what
// they expect of one another, raises the version, and such a superd-launch is replaced.

#include <cstdint>

#include "proc/parked/message.h"

namespace superd::proc::launch {

constexpr int kVersion = 2;

/// To superd-launch, with the connection as SCM_RIGHTS; the client's variables follow, each ended by NUL.
struct Order {
    std::uint32_t serial;
    std::uint32_t errors_to_client;  ///< descriptor 2 becomes the connection as well
};
static_assert(sizeof(Order) == 8);
constexpr int kMostVariables = 1024;  ///< with those of all handlers
constexpr int kLargest = static_cast<int>(sizeof(Order)) + parked::kLargest;

enum class Word : std::uint32_t {
    ready = 1,  ///< from superd-launch, once
    going,      ///< from the new process, which has the connection and executes the handler now
    failed,     ///< from it: it cannot be executed, and the connection comes back; from superd-launch: nobody has begun
};
struct Answer {
    Word word;
    std::uint32_t serial;
    std::int32_t code;  ///< failed: errno
};
static_assert(sizeof(Answer) == 12);

}  // namespace superd::proc::launch
