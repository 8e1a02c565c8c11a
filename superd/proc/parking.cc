// SPDX-License-Identifier: MIT
#include "proc/parking.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "proc/parked/message.h"
#include "sys/passed_rights.h"

namespace superd::proc {

Result<Pair> make_pair() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
    sys::let_rights_in(ends[0], false);
    return Pair{sys::Fd(ends[0]).lifted(), sys::Fd(ends[1])};
}

Result<void> send_client(int pair, int connection, const Environment& environment, bool errors_to_client) {
    char mode = static_cast<char>(errors_to_client ? parked::Errors::socket : parked::Errors::keep);
    const std::string& variables = environment.block();
    if (variables.size() + 1 > static_cast<std::size_t>(parked::kLargest))
        return fail_errno("parked process", EMSGSIZE);
    sys::let_rights_in(pair, true);  // it may come back, and until the exec only superd-exec has the other end
    iovec parts[2] = {{&mode, 1}, {const_cast<char*>(variables.data()), variables.size()}};
    if (parked::send_with_descriptor(pair, parts, 2, connection, MSG_DONTWAIT) < 0)
        return fail_errno("parked process", errno);
    return {};
}

std::optional<SpawnFailure> exec_failure(int pair) {
    parked::Failure failure{};
    sys::Fd connection;
    if (receive_with_descriptor(pair, &failure, sizeof failure, connection) != sizeof failure) return std::nullopt;
    return SpawnFailure{Step::exec, failure.code, std::move(connection)};
}

ssize_t receive_from(int socket, char* data, std::size_t size, pid_t& sender) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    iovec part{data, size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(socket, &header, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) return n;
    if ((header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) return errno = EPERM, -1;
    const cmsghdr* from = CMSG_FIRSTHDR(&header);
    if (from == nullptr || from->cmsg_level != SOL_SOCKET || from->cmsg_type != SCM_CREDENTIALS)
        return errno = EPERM, -1;
    ucred who;
    std::memcpy(&who, CMSG_DATA(from), sizeof who);
    sender = who.pid;
    // The same message, of which it is known by now that nothing can be dropped with it.
    return recv(socket, data, size, MSG_DONTWAIT);
}

bool is_own_child(pid_t pid) {
    siginfo_t about{};
    return pid > 0 && waitid(P_PID, static_cast<id_t>(pid), &about, WEXITED | WNOHANG | WNOWAIT) == 0;
}

ssize_t receive_with_descriptor(int socket, void* data, std::size_t size, sys::Fd& descriptor) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec part{data, size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const sys::Dropping dropping;  // for descriptors without room
    const ssize_t n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const cmsghdr* rights = n > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
    if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {  // otherwise no number was free for it
        int fd;
        std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
        descriptor.reset(fd);
    }
    return n;
}

}  // namespace superd::proc
