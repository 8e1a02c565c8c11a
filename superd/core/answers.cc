// SPDX-License-Identifier: MIT
#include "core/answers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace superd::core {

Result<MessagePair> make_message_pair() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
    MessagePair pair{sys::Fd(ends[1]), sys::Fd(ends[0])};
    pair.ours = std::move(pair.ours).lifted();
    sys::let_rights_in(pair.ours.get(), false);
    return pair;
}

Result<void> Answers::answer_from(int listener) {
    sys::Fd own(fcntl(listener, F_DUPFD_CLOEXEC, 3));
    if (!own) return fail_errno("descriptor for replies", errno);
    socket = std::move(own).lifted();
    return {};
}

Answers::Passed Answers::pass_on(int from) {
    std::array<char, 65536> data;
    const ssize_t n = sys::receive_without_rights(from, data.data(), data.size(), MSG_TRUNC);
    if (n < 0 && errno == EPERM) {  // and anything behind it cannot be read
        replies_.failed(peer_, {"its handler passed descriptors", EPERM});
        return Passed::over;
    }
    if (n < 0) return Passed::none;
    if (n == 0) {  // an empty reply, or no writer is left
        pollfd end{from, POLLRDHUP, 0};
        const int ended = poll(&end, 1, 0);
        if (ended != 0) return ended > 0 ? Passed::over : Passed::none;  // if this fails, it is reported once more
    }
    // There is no answer to a sender without a name, or with a name relative to a folder.
    if (peer_.family() == AF_UNSPEC) return Passed::one;
    if (peer_.family() == AF_UNIX && !peer_.host().starts_with('/') && !peer_.host().starts_with('@'))
        return Passed::one;
    if (static_cast<std::size_t>(n) > data.size()) {  // part of it would be another answer
        replies_.failed(peer_, {fmt::format("{} bytes are too many for an answer", n), EMSGSIZE});
        return Passed::one;
    }
    const auto sent =
        net::send(socket.get(), {data.data(), static_cast<std::size_t>(n)}, peer_, local_, as_ ? &*as_ : nullptr);
    sent ? replies_.sent() : replies_.failed(peer_, sent.error());
    return Passed::one;
}

}  // namespace superd::core
