// SPDX-License-Identifier: MIT
#pragma once
// The file that a unix socket is bound to (unix(7)).

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "conf/service.h"
#include "sys/address.h"
#include "sys/fd.h"

namespace superd::net {

/// Makes missing parents, gives the file its final mode from its first moment on, and replaces what nobody answers at.
/// `type`: of the kernel, SOCK_STREAM or another.
Result<void> bind_path(int fd, int type, const sys::Address& address, const std::string& path,
                       const conf::SocketOptions& options);

/// Binds next to the socket at the path and then replaces it atomically, so the path always works. `own`: that socket
/// is the one to replace.
Result<void> bind_over(int fd, int type, const sys::Address& address, const std::string& path,
                       const conf::SocketOptions& options, bool own);

/// The file that a unix socket was bound to, as O_PATH, and not a file that may have replaced it since. Not open: it is
/// no longer there.
sys::Fd open_own(int fd, const std::string& path, dev_t device, ino_t inode);

/// `own`: from open_own().
Result<void> set_owner_and_mode(int own, const std::string& path, const conf::SocketOptions& options);

}  // namespace superd::net
