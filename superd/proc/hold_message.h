// SPDX-License-Identifier: MIT
#pragma once
// What superd-hold tells superd over the SOCK_SEQPACKET pair on its descriptor kHoldChannel. superd says nothing; when it
// closes its end, the sandbox is no longer needed.

#include <cstdint>

namespace superd::proc {

constexpr int kHoldChannel = 3;

struct HoldMessage {
    enum class Word : std::uint32_t {
        ready = 1,
        failed,
        begun,  ///< process 1 of a PID namespace, before what may take long: the kernel adds its pid
    };
    Word word;
    std::int32_t code;  ///< failed: errno
    char what[240];     ///< failed: what was tried, and on what; ends with NUL
};

}  // namespace superd::proc
