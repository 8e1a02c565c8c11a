// SPDX-License-Identifier: MIT
#pragma once
// How many clients wait on a socket from which others take them.

#include <cstddef>

#include "net/listener.h"

namespace superd::net {

/// TCP: the length of the accept queue (TCP_INFO: tcpi_unacked of a listening socket). Unix streams: the same, by
/// sock_diag(7). Datagrams, vsock, and kernels that do not tell: 1 if there is something to read.
std::size_t waiting(const Listener& listener);

}  // namespace superd::net
