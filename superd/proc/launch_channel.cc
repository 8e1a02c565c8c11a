// SPDX-License-Identifier: MIT
#include "proc/launch_channel.h"

#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace superd::proc {

bool can_launch(const conf::Sandbox& sandbox) {
    static constexpr int kCalls[] = {SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_clone,          SYS_setsid,
                                     SYS_dup3,    SYS_close,   SYS_execve, SYS_rt_sigprocmask, SYS_keyctl};
    // It installs the filter after its exec, with the capabilities that are left to it.
    const bool may_install = !sandbox.needs_filter() || sandbox.no_new_privileges ||
                             (conf::bounding_set(sandbox, true) >> CAP_SYS_ADMIN & 1) != 0;
    return may_install && std::ranges::all_of(kCalls, [&](int number) { return sandbox.syscalls.permits(number); });
}

Result<Pair> make_launch_channel() {
    auto pair = make_pair();
    if (!pair) return pair;
    const int on = 1;
    if (setsockopt(pair->ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return fail_errno("SO_PASSCRED", errno);
    // Only superd-launch and its own processes before their exec have the other end.
    sys::let_rights_in(pair->ours.get(), true);
    return pair;
}

Result<void> order_launch(int channel, std::uint32_t serial, int connection, const Environment& environment,
                          bool errors_to_client) {
    launch::Order order{serial, errors_to_client ? 1U : 0U};
    const std::string& variables = environment.block();
    if (variables.size() > static_cast<std::size_t>(parked::kLargest)) return fail_errno("superd-launch", EMSGSIZE);
    iovec parts[2] = {{&order, sizeof order}, {const_cast<char*>(variables.data()), variables.size()}};
    if (parked::send_with_descriptor(channel, parts, 2, connection, MSG_DONTWAIT) < 0)
        return fail_errno("superd-launch", errno);
    return {};
}

std::optional<LaunchWord> launch_word(int channel, bool& open) {
    LaunchWord word;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
    iovec part{&word.answer, sizeof word.answer};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    // The usual words bring none, and are to cost nothing.
    std::optional<sys::Dropping> dropping;
    if (recv(channel, &word.answer, sizeof word.answer, MSG_PEEK | MSG_DONTWAIT) > 0 &&
        word.answer.word == launch::Word::failed)
        dropping.emplace();
    const ssize_t n = recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    open = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET));
    if (n <= 0) return std::nullopt;
    for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
        if (at->cmsg_level != SOL_SOCKET) continue;
        if (at->cmsg_type == SCM_CREDENTIALS) {
            ucred who;
            std::memcpy(&who, CMSG_DATA(at), sizeof who);
            word.sender = who.pid;
        } else if (at->cmsg_type == SCM_RIGHTS) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(at), sizeof fd);
            word.connection = sys::Fd(fd);
        }
    }
    open = n == sizeof word.answer;
    if (!open) return std::nullopt;
    return word;
}

}  // namespace superd::proc
