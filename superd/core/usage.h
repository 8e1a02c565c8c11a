// SPDX-License-Identifier: MIT
#pragma once
// What handlers have used ([log] usage), by wait4(2) and TCP_INFO.

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "net/tcp_usage.h"

namespace superd::core {

/// Of a service, since superd started.
struct Usage {
    Duration user{}, system{};
    std::uint64_t memory = 0;  ///< bytes; the most that one handler had
    std::uint64_t in = 0, out = 0, retransmits = 0;
};

/// Of one handler.
struct HandlerUsage {
    Duration user{}, system{};  ///< with the children that it has waited for
    std::uint64_t memory = 0;   ///< bytes, at its peak
    bool memory_at_most = false;
    std::optional<net::TcpUsage> tcp;

    /// `own`: of superd itself. What superd had until the handler's exec counts as the handler's to the kernel
    /// (getrusage(2), ru_maxrss), so a peak below that is not known. `copied`: it never shared superd's memory.
    HandlerUsage(const rusage& used, const rusage& own, bool copied, std::optional<net::TcpUsage> connection);

    void add_to(Usage& usage) const;
    /// "; CPU 12ms user, 3ms system, memory 12M, 1234 bytes in, 5 bytes out, 0 retransmits, RTT 31us"
    std::string text() const;
    void add_to(std::vector<Field>& fields) const;
};

}  // namespace superd::core
