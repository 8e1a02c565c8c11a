// SPDX-License-Identifier: MIT
#pragma once
// What went over a TCP connection.

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace superd::net {

struct TcpUsage {
    std::uint64_t in = 0;   ///< bytes received
    std::uint64_t out = 0;  ///< bytes written, including those on their way
    std::uint64_t retransmits = 0;
    Duration rtt{};
};

/// nullopt: the kernel does not tell, or it is another kind of socket. Where the connection was reset, one byte each
/// way may be missing, since nothing shows whether an end (FIN) was sent.
std::optional<TcpUsage> tcp_usage(int fd);

}  // namespace superd::net
