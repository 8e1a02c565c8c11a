// SPDX-License-Identifier: MIT
#pragma once
// How many clients wait on a socket whose clients are taken by others.

#include <cstddef>

#include "net/listener.h"

namespace superd::net {

/// TCP: the accept queue (TCP_INFO, where for a listening socket tcpi_unacked is its length); unix streams: the same by
/// sock_diag(7). Datagrams, vsock, and where the kernel does not tell: 1 if there is something to be read.
std::size_t waiting(const Listener& listener);

}  // namespace superd::net
