// SPDX-License-Identifier: MIT
#pragma once
// A process between the proxy and its backend. It starts and stops the backend on request, reaps whatever descends from
// it, and ends all of it when the proxy is gone, however that ended. It holds the lock by which the backends of one
// service take turns.

#include <sys/types.h>

#include <expected>
#include <string>

#include "proxy/options.h"

namespace proxy {

/// The proxy's words to its keeper, one in each message.
enum class Order : char { start = 's', stop = 't' };

/// What the keeper tells the proxy.
struct News {
    enum class What : char {
        waits,    ///< for the backend of an earlier generation
        started,  ///< `value`: its pid
        failed,   ///< could not be started. `value`: errno
        ready,    ///< has said so
        ended,    ///< and nothing of it is left. `value`: as wait(2) says
    };
    What what = What::ended;
    int value = 0;
};

/// Forks the keeper and returns the proxy's end of the channel, SOCK_SEQPACKET and non-blocking. To be called before
/// there are threads. The error is the errno.
std::expected<Fd, int> start_keeper(const Options& options);

/// From TERM to KILL. Half of superd's default stop_timeout, so that the backend has ended when the proxy is killed.
constexpr Duration kStopTime = std::chrono::seconds(5);

}  // namespace proxy
