// SPDX-License-Identifier: MIT
#pragma once
// What strangers pass to superd over unix sockets: descriptors (SCM_RIGHTS), none of which superd wants.
//
// Whoever drops the last reference of a socket that lingers (socket(7), SO_LINGER) sleeps for as long as its owner
// has said, and that of a large file in memory takes seconds to free. So nobody may pass any where the kernel can
// forbid it (SO_PASSRIGHTS, Linux 6.16). Before, superd looks whether a message carries descriptors before it takes
// it, and leaves those that do, and sockets in which something is left, to a process that ends with them. superd never
// receives descriptors itself: close(2) flushes each file, and waits for ever for a FUSE server. What is dropped all
// the same is dropped under a timer that interrupts the sleep.

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

/// recv(2) without waiting. EPERM: descriptors were passed with what comes next, which stays where it is; nothing more
/// can be read from a connection.
ssize_t receive_without_rights(int fd, void* data, std::size_t size, int flags = 0);

/// Does the next message carry descriptors?
bool next_carries_rights(int fd);
/// Takes that message away, in another process. Waits for a few milliseconds at most.
void drop_next(int fd);

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
