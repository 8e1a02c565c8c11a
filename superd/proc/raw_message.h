// SPDX-License-Identifier: MIT
#pragma once
// A message with a descriptor, sent by a child that shares its parent's memory: see proc/raw_syscall.h.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "proc/raw_syscall.h"

namespace superd::proc {

/// The caller keeps the descriptor. Returns what sendmsg(2) does: a length, or minus errno.
SUPERD_CHILD static inline long send_raw(int channel, const void* data, std::size_t size, int descriptor, int flags) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        cmsghdr header;
    } control;
    iovec part;
    part.iov_base = const_cast<void*>(data);
    part.iov_len = size;
    msghdr message;
    message.msg_name = nullptr;
    message.msg_namelen = 0;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    message.msg_flags = 0;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(&control.header)) = descriptor;
    return raw_syscall(SYS_sendmsg, channel, static_cast<long>(reinterpret_cast<std::intptr_t>(&message)),
                       flags | MSG_NOSIGNAL);
}

}  // namespace superd::proc
