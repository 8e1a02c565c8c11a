// SPDX-License-Identifier: MIT
#include "sys/passed_rights.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

namespace superd::sys {
namespace {

constexpr int kMostPassed = 253;  // SCM_MAX_FD
constexpr int kPatience = 5;      // ms

int option(int fd, int name, int otherwise) {
    int value = otherwise;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : otherwise;
}

bool is_unix(int fd) {
    return option(fd, SO_DOMAIN, AF_UNSPEC) == AF_UNIX;
}

/// Can descriptors be passed to it? Not if the kernel keeps them out; some may have arrived earlier.
bool takes_rights(int fd) {
    return is_unix(fd) && option(fd, SO_PASSRIGHTS, 1) != 0;
}

/// Is anything left to read? For a listening socket: perhaps, in connections that wait there.
bool is_left(int fd) {
    int bytes = 0;
    if (option(fd, SO_TYPE, SOCK_STREAM) == SOCK_STREAM) return ioctl(fd, SIOCINQ, &bytes) != 0 || bytes > 0;
    pollfd readable{fd, POLLIN, 0};  // messages may have no bytes
    return poll(&readable, 1, 0) != 0;
}

/// The message's length, without taking it; `carries`: it brings descriptors, for which there was no room.
ssize_t look(int fd, void* data, std::size_t size, int flags, bool& carries) {
    iovec part{data, size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t n = recvmsg(fd, &message, flags | MSG_PEEK | MSG_DONTWAIT);
    carries = n >= 0 && (message.msg_flags & MSG_CTRUNC) != 0;
    return n;
}

/// Receives with room for the descriptors, so that none is dropped before this process ends. Does nothing if another
/// process has taken the message meanwhile.
void receive_with_rights(int fd) {
    if (!next_carries_rights(fd)) return;
    alignas(cmsghdr) static char control[CMSG_SPACE(kMostPassed * sizeof(int))];
    char byte;
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

/// A process that has this socket and nothing else of superd's. It ends at once, or once its parent has closed
/// `parent`. The passed descriptors end with it, however long that takes. Nobody waits for its exit; it is reaped like
/// any unknown child.
bool leave_to_another(int fd, bool next_alone, Fd& parent) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    Fd ours(ends[next_alone ? 0 : 1]), theirs(ends[next_alone ? 1 : 0]);
    const pid_t pid = fork();
    if (pid < 0) return false;
    if (pid > 0) {
        parent = std::move(ours);
        return true;
    }
    const int socket = dup3(fd, STDIN_FILENO, O_CLOEXEC), pipe = dup3(theirs.get(), STDOUT_FILENO, O_CLOEXEC);
    close_range(STDERR_FILENO, ~0U, 0);
    char byte;
    if (socket < 0 || pipe < 0) _exit(1);
    if (next_alone)
        receive_with_rights(socket);
    else
        while (read(pipe, &byte, 1) < 0 && errno == EINTR) {
        }
    close(pipe);  // before what was passed
    _exit(0);
}

}  // namespace

void let_rights_in(int fd, bool on) {
    const int value = on;
    setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof value);
}

ssize_t receive_without_rights(int fd, void* data, std::size_t size, int flags) {
    std::optional<Dropping> dropping;  // no other socket brings descriptors
    if (is_unix(fd)) {
        bool carries = false;
        const ssize_t n = look(fd, data, size, flags, carries);
        if (carries) errno = EPERM;
        if (n < 0 || carries) return -1;
        if ((flags & MSG_PEEK) != 0) return n;
        // Do not take a byte that may have come meanwhile. Messages come one at a time anyway.
        if (n > 0 && option(fd, SO_TYPE, 0) == SOCK_STREAM) size = static_cast<std::size_t>(n);
        dropping.emplace();
    }
    return recv(fd, data, size, flags | MSG_DONTWAIT);
}

bool next_carries_rights(int fd) {
    bool carries = false;
    char byte;
    return is_unix(fd) && look(fd, &byte, 1, 0, carries) >= 0 && carries;
}

void drop_next(int fd) {
    Fd done;
    if (leave_to_another(fd, true, done)) {
        pollfd taken{done.get(), POLLIN, 0};
        poll(&taken, 1, kPatience);  // on timeout the same message is seen again
        return;
    }
    char byte;
    const Dropping dropping;
    recv(fd, &byte, 1, MSG_DONTWAIT);
}

void GuardedFd::reset(int fd) {
    if (!*this) return Fd::reset(fd);
    Fd closed;  // closed after this copy, so that this copy is not the last one
    if (takes_rights(get()) && is_left(get())) leave_to_another(get(), false, closed);
    const Dropping dropping;
    Fd::reset(fd);
}

}  // namespace superd::sys
