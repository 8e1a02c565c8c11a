// SPDX-License-Identifier: MIT
#pragma once
// What passes between superd and a parked superd-exec, over a SOCK_SEQPACKET pair on its stdin.

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace superd::proc::parked {

/// To superd-exec, with the connection as SCM_RIGHTS: one byte, then the client's variables, each ended by NUL.
enum class Errors : char {
    keep = '-',    ///< stderr stays as it is
    socket = '2',  ///< stderr is the connection as well
};

/// The largest message. One client's variables take a few hundred bytes; with what a proxy and a handshake say of it, at
/// most some 4,500.
constexpr int kLargest = 8192;

/// From superd-exec, before it exits with 127: the errno of the failed exec, and the connection as SCM_RIGHTS. If the
/// pair closes without a message, the exec worked.
struct Failure {
    int code;
};

/// Sends one message with a descriptor, which the caller keeps. Returns what sendmsg(2) does. Inline here, because
/// what it talks to links nothing of superd.
inline ssize_t send_with_descriptor(int socket, iovec* parts, std::size_t count, int descriptor, int flags) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
    msghdr header{};
    header.msg_iov = parts;
    header.msg_iovlen = count;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    return sendmsg(socket, &header, flags | MSG_NOSIGNAL);
}

/// One message and the descriptor with it, which is CLOEXEC; -1: it has none. Returns what recvmsg(2) does.
inline ssize_t receive_with_descriptor(int socket, void* data, std::size_t size, int& descriptor) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)];
    iovec part{data, size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t n;
    do n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const cmsghdr* rights = n > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
    descriptor = -1;
    if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS)
        std::memcpy(&descriptor, CMSG_DATA(rights), sizeof descriptor);
    return n;
}

}  // namespace superd::proc::parked
