// SPDX-License-Identifier: MIT
#pragma once
// What the kernel tells of a unix socket by sock_diag(7).

#include <linux/unix_diag.h>

#include <cstddef>
#include <optional>

namespace superd::net {

/// Clients in the accept queue of a listening socket.
std::optional<unix_diag_rqlen> queue_of_unix(int fd);
/// The file that a socket was bound to, as its file system knows it: not what stands at its path now.
std::optional<unix_diag_vfs> file_of_unix(int fd);

}  // namespace superd::net
