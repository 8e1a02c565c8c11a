// SPDX-License-Identifier: MIT
#include "core/datagram_relay.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/state.h"

namespace superd::core {
namespace {

constexpr int kBatch = 16;
constexpr int kMostLeft = 4096;

/// A file rather than a pipe: it holds any datagram whole, and a shell can read it line by line.
Result<sys::Fd> file_with(const std::string& data) {
    sys::Fd file(memfd_create("datagram", MFD_CLOEXEC));
    if (!file) return fail_errno("memfd_create", errno);
    if (pwrite(file.get(), data.data(), data.size(), 0) != static_cast<ssize_t>(data.size()))
        return fail_errno("memfd", errno != 0 ? errno : ENOSPC);
    return file;
}

}  // namespace

DatagramRelay::DatagramRelay(Engine& engine, Replies& replies, const model::Client& client)
    : engine_(engine), replies_(replies), peer_(client.peer), local_(client.local) {}

Result<std::unique_ptr<DatagramRelay>> DatagramRelay::create(Engine& engine, Replies& replies,
                                                             const model::Client& client, int listener,
                                                             std::optional<net::Sender> as) {
    std::unique_ptr<DatagramRelay> relay(new DatagramRelay(engine, replies, client));
    relay->as_ = as;
    auto file = file_with(client.datagram);
    if (!file) return std::unexpected(file.error());
    relay->input = std::move(*file);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair", errno);
    relay->output = sys::Fd(ends[0]);
    relay->answers_ = sys::Fd(ends[1]).lifted();
    sys::let_rights_in(relay->answers_.get(), false);
    sys::Fd socket(fcntl(listener, F_DUPFD_CLOEXEC, 3));
    if (!socket) return fail_errno("descriptor for replies", errno);
    relay->socket_ = std::move(socket).lifted();
    if (auto watched = relay->watch(); !watched) return std::unexpected(watched.error());
    return relay;
}

Result<void> DatagramRelay::watch() {
    auto source = engine_.loop.io(answers_.get(), EPOLLIN, [this](std::uint32_t) {
        for (int i = 0; i < kBatch; ++i)
            if (!pass_on()) return;
    });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    return {};
}

RelayState DatagramRelay::write_down(sys::Descriptors& descriptors) const {
    RelayState state{descriptors.keep(answers_), descriptors.keep(socket_), peer_, local_, std::nullopt};
    if (as_) state.as.emplace(as_->uid, as_->gid);
    return state;
}

Result<std::unique_ptr<DatagramRelay>> DatagramRelay::go_on(Engine& engine, Replies& replies, const RelayState& state,
                                                            sys::Descriptors& descriptors) {
    model::Client client;
    client.peer = state.peer;
    client.local = state.local;
    std::unique_ptr<DatagramRelay> relay(new DatagramRelay(engine, replies, client));
    if (state.as) relay->as_ = net::Sender{state.as->first, state.as->second};
    relay->answers_ = descriptors.claim(state.answers);
    relay->socket_ = descriptors.claim(state.socket);
    if (!relay->answers_ || !relay->socket_) return fail("the sockets of a datagram's handler are missing");
    if (auto watched = relay->watch(); !watched) return std::unexpected(watched.error());
    return relay;
}

DatagramRelay::~DatagramRelay() {
    source_ = {};
    // The socket's buffer bounds what can be there.
    for (int i = 0; i < kMostLeft && answers_ && pass_on(); ++i) {
    }
}

bool DatagramRelay::pass_on() {
    std::array<char, 65536> data;
    const ssize_t n = sys::receive_without_rights(answers_.get(), data.data(), data.size(), MSG_TRUNC);
    if (n < 0 && errno == EPERM) {  // and anything behind it cannot be read
        replies_.failed(peer_, {"its handler passed descriptors", EPERM});
        source_ = {};
        answers_.reset();
        return false;
    }
    if (n < 0) return false;
    if (n == 0) {  // an empty reply, or no writer is left
        pollfd end{answers_.get(), POLLRDHUP, 0};
        const int ended = poll(&end, 1, 0);
        if (ended > 0) source_ = {};
        if (ended != 0) return false;  // if this fails, the end is reported once more
    }
    // There is no answer to a sender without a name, or with a name relative to a folder.
    if (peer_.family() == AF_UNSPEC) return true;
    if (peer_.family() == AF_UNIX && !peer_.host().starts_with('/') && !peer_.host().starts_with('@')) return true;
    if (static_cast<std::size_t>(n) > data.size()) {  // part of it would be another answer
        replies_.failed(peer_, {fmt::format("{} bytes are too many for an answer", n), EMSGSIZE});
        return true;
    }
    const auto sent =
        net::send(socket_.get(), {data.data(), static_cast<std::size_t>(n)}, peer_, local_, as_ ? &*as_ : nullptr);
    sent ? replies_.sent() : replies_.failed(peer_, sent.error());
    return true;
}

}  // namespace superd::core
