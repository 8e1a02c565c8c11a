// SPDX-License-Identifier: MIT
#pragma once
// What strangers pass to superd over unix sockets: descriptors (SCM_RIGHTS). superd wants none of them.
//
// A process that drops the last reference to a lingering socket (socket(7), SO_LINGER) sleeps for as long as the
// socket's owner has set; freeing a large file in memory takes seconds. So nobody may pass descriptors where the kernel
// can forbid it (SO_PASSRIGHTS, Linux 6.16). On older kernels superd checks whether a message carries descriptors
// before it takes the message. It leaves such messages, and sockets with unread data, to a process that ends with them.
// superd never receives descriptors itself: close(2) flushes each file, and waits for ever for a FUSE server. Anything
// that it must drop nevertheless, it drops under a timer that interrupts the sleep.

#include <sys/socket.h>

#include "sys/fd.h"
#include "sys/interruption.h"

namespace superd::sys {

/// May writers to this unix socket pass descriptors? If not, sendmsg(2) fails for them with EPERM. Connections inherit
/// the setting from the listening socket when they are made. Without the kernel option this does nothing.
void let_rights_in(int fd, bool on);

/// While it lives, superd may drop the last reference to any socket, by recv(2) or close(2): a sleep ends at once. Only
/// for calls that wait for nothing else.
class Dropping {
  public:
    Dropping() : interruption_(std::chrono::microseconds(200)) {}

  private:
    Interruption interruption_;
};

/// recv(2) without waiting. EPERM: the next data comes with descriptors. It stays where it is, and nothing more can be
/// read from a connection.
ssize_t receive_without_rights(int fd, void* data, std::size_t size, int flags = 0);

/// Does the next message carry descriptors?
bool next_carries_rights(int fd);
/// Removes that message by means of another process. Waits a few milliseconds at most.
void drop_next(int fd);

/// The descriptor of a socket that others write to or share: it closes without sleeping, whatever waits in it.
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
