// SPDX-License-Identifier: MIT
#pragma once
// What a stranger passes to make whoever closes it last sleep.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "catch.h"
#include "sys/passed_rights.h"

namespace superd {

constexpr int kLinger = 10;  // seconds

/// A lingering connection with more to send than its other end, which stays open and does not read, accepts.
class Poison {
  public:
    Poison() {
        sys::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        auto* address = reinterpret_cast<sockaddr*>(&at);
        REQUIRE(bind(listener.get(), address, size) == 0);
        REQUIRE(listen(listener.get(), 1) == 0);
        REQUIRE(getsockname(listener.get(), address, &size) == 0);
        ours = sys::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(connect(ours.get(), address, size) == 0);
        theirs = sys::Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const linger lingers{1, kLinger};
        REQUIRE(setsockopt(ours.get(), SOL_SOCKET, SO_LINGER, &lingers, sizeof lingers) == 0);
        const std::vector<char> much(65536);
        while (send(ours.get(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
    }
    /// The errno of passing it on; anything left here is closed.
    int pass(int to) {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
        char byte = 'x';
        iovec part{&byte, 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        const int fd = ours.get();
        std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
        const int code = sendmsg(to, &message, 0) == 1 ? 0 : errno;
        if (code == 0) ours.reset();  // not the last one
        return code;
    }
    ~Poison() {
        const sys::Dropping dropping;
        ours.reset();
    }
    sys::Fd ours, theirs;
};

}  // namespace superd
