// SPDX-License-Identifier: MIT
#pragma once
// What strangers pass to superd over unix sockets: descriptors (SCM_RIGHTS), none of which superd wants.
//
// Whoever drops the last reference of a socket that lingers (socket(7), SO_LINGER) sleeps for as long as its owner
// has said. So nobody may pass any where the kernel can forbid it (SO_PASSRIGHTS, Linux 6.16); and whether it can or
// not, superd never lets them in, and drops them under a timer that interrupts such a sleep. To receive them and have
// another process close them is no way out: close(2) flushes each file, and waits for ever for a FUSE server.

#include <sys/socket.h>

#include "sys/fd.h"
#include "sys/interruption.h"

namespace superd::sys {

/// May those who write to this unix socket pass descriptors? If not, sendmsg(2) is EPERM for them. Connections have it
/// from the listening socket, as it was when they were made. Nothing happens where the kernel has no such option.
void let_rights_in(int fd, bool on);

/// While it lives, superd may drop the last reference of any socket, by recv(2) or by close(2): a sleep ends at once.
/// Only for calls that do not wait for anything else.
class Dropping {
  public:
    Dropping() : interruption_(std::chrono::microseconds(200)) {}

  private:
    Interruption interruption_;
};

/// recv(2) without waiting. Descriptors that were passed are dropped.
ssize_t receive_without_rights(int fd, void* data, std::size_t size, int flags = 0);

/// The descriptor of a socket that others write to, or share: it closes without a sleep, whatever waits in it.
class GuardedFd : public Fd {
  public:
    GuardedFd() = default;
    explicit GuardedFd(int fd) : Fd(fd) {}
    GuardedFd(Fd&& other) noexcept : Fd(std::move(other)) {}  // from whoever made or accepted it
    GuardedFd(GuardedFd&&) noexcept = default;
    GuardedFd& operator=(GuardedFd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    ~GuardedFd() { reset(); }
    void reset(int fd = -1);
};

}  // namespace superd::sys
