// SPDX-License-Identifier: MIT
#pragma once
// What the kernel reports about a unix socket by sock_diag(7).

#include <linux/unix_diag.h>
#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

#include "base/error.h"

namespace superd::net {

/// Clients in the accept queue of a listening socket.
std::optional<unix_diag_rqlen> queue_of_unix(int fd);
/// The file that a socket was bound to, as its file system knows it: not the file at its path now.
std::optional<unix_diag_vfs> file_of_unix(int fd);
/// The name that a socket, given by its inode, is bound to, as in sun_path; an accepted connection has its listener's
/// name. Empty: unbound. ENOENT: there is no such unix socket.
Result<std::string> name_of_unix(ino_t inode);

}  // namespace superd::net
