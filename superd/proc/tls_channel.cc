// SPDX-License-Identifier: MIT
#include "proc/tls_channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace superd::proc {

Result<PlainPair> make_plain_pair() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
    PlainPair pair{sys::Fd(ends[0]), sys::Fd(ends[1])};
    // superd-tls always leaves one byte unread: tls/connection.h.
    if (send(ends[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) return fail_errno("socketpair", errno);
    return pair;
}

Result<void> order_handshake(int channel, std::uint64_t ticket, int connection, int pair) {
    TlsOrder order{};
    order.word = TlsOrder::Word::client;
    order.ticket = ticket;
    iovec data{&order, sizeof order};
    const int passed[2] = {connection, pair};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof passed)]{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(part), passed, sizeof passed);
    ssize_t n;
    do n = sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail_errno("superd-tls", errno);
    return {};
}

std::optional<TlsWord> tls_word(int channel, bool& open) {
    struct {
        TlsAnswer answer;
        char text[kTlsMostText];
    } message;
    pid_t sender = 0;
    const ssize_t n = receive_from(channel, reinterpret_cast<char*>(&message), sizeof message, sender);
    open = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET));
    if (n <= 0) return std::nullopt;
    // Too short: a word that means nothing.
    if (n < static_cast<ssize_t>(sizeof message.answer)) return TlsWord{};
    return TlsWord{message.answer, std::string(message.text, static_cast<std::size_t>(n) - sizeof message.answer)};
}

std::optional<TlsFacts> read_facts(std::string_view text) {
    TlsFacts facts;
    for (std::string_view& fact : facts) {
        const auto end = text.find('\0');
        if (end == text.npos || end > kTlsMostFact) return std::nullopt;
        fact = text.substr(0, end);
        text.remove_prefix(end + 1);
        if (!std::ranges::all_of(fact, [](char c) { return c >= ' ' && c <= '~'; })) return std::nullopt;
    }
    return text.empty() ? std::optional(facts) : std::nullopt;
}

void add_facts(const TlsFacts& facts, Environment& to) {
    static constexpr struct {
        const char *own, *s6;
    } kNames[kTlsFacts] = {{"TLS_PROTOCOL", "SSL_PROTOCOL"},
                           {"TLS_CIPHER", "SSL_CIPHER"},
                           {"TLS_SERVER_NAME", "SSL_TLS_SNI_SERVERNAME"},
                           {"TLS_ALPN", nullptr},
                           {"TLS_CLIENT_SUBJECT", "SSL_PEER_CERT_SUBJECT"},
                           {"TLS_CLIENT_HASH", "SSL_PEER_CERT_HASH"}};
    for (std::size_t i = 0; i < kTlsFacts; ++i) {
        if (facts[i].empty()) continue;
        to.set(kNames[i].own, facts[i]);
        if (kNames[i].s6 != nullptr) to.set(kNames[i].s6, facts[i]);
    }
}

}  // namespace superd::proc
