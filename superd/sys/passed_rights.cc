// SPDX-License-Identifier: MIT
#include "sys/passed_rights.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

namespace superd::sys {

void let_rights_in(int fd, bool on) {
    const int value = on;
    setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof value);
}

ssize_t receive_without_rights(int fd, void* data, std::size_t size, int flags) {
    const Dropping dropping;
    return recv(fd, data, size, flags | MSG_DONTWAIT);
}

void GuardedFd::reset(int fd) {
    if (!*this) return Fd::reset(fd);
    const Dropping dropping;
    Fd::reset(fd);
}

}  // namespace superd::sys
