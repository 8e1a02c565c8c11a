// SPDX-License-Identifier: MIT
#include "tls/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace superd::tls {

using proc::TlsAnswer;
using proc::TlsOrder;

Order Channel::next() {
    TlsOrder order{};
    iovec data{&order, sizeof order};
    alignas(cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    ssize_t n;
    do n = recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    Order next;
    if (n < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS)) return next;
    if (n <= 0) {
        next.what = Order::What::closed;
        return next;
    }
    int got[2] = {-1, -1};
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            std::memcpy(got, CMSG_DATA(part), std::min(sizeof got, part->cmsg_len - CMSG_LEN(0)));
    next.connection.reset(got[0]);
    next.pair.reset(got[1]);
    next.ticket = order.ticket;
    next.what = next.connection && next.pair ? Order::What::client : Order::What::lost;
    return next;
}

bool Channel::send(std::string_view message) {
    ssize_t n;
    do n = ::send(fd_, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    // Any other error: nobody is there to hear it.
    return n >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM);
}

void Channel::say(TlsAnswer::Word word, std::uint64_t about, std::string_view text, proc::TlsEnd end) {
    const TlsAnswer head{word, end, about};
    std::string message(reinterpret_cast<const char*>(&head), sizeof head);
    message += text.substr(0, proc::kTlsMostText);
    if (!unsent_.empty() || !send(message)) unsent_.push_back(std::move(message));
}

bool Channel::flush() {
    while (!unsent_.empty()) {
        if (!send(unsent_.front())) return false;
        unsent_.pop_front();
    }
    return true;
}

}  // namespace superd::tls
