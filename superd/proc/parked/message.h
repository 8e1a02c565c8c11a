// SPDX-License-Identifier: MIT
#pragma once
// What passes between superd and a parked superd-exec, over a SOCK_SEQPACKET pair on its stdin.

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstring>

namespace superd::proc::parked {

/// To superd-exec, with the connection as SCM_RIGHTS: one byte, then the client's variables, each ended by NUL.
enum class Errors : char {
    keep = '-',    ///< stderr stays as it is
    socket = '2',  ///< stderr is the connection as well
};

/// The largest message. Variables of one client are a few hundred bytes; a unix path is at most 108.
constexpr int kLargest = 4096;

/// From superd-exec, before it leaves with 127: errno of the exec that failed, and the connection as SCM_RIGHTS. A
/// pair that closes without: it worked.
struct Failure {
    int code;
};

/// One message with a descriptor, which stays the caller's. Returns what sendmsg(2) does. Here and inline, because
/// superd-exec links nothing of superd.
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

}  // namespace superd::proc::parked
