// SPDX-License-Identifier: MIT
#include "core/datagram_relay.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

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

Result<std::unique_ptr<DatagramRelay>> DatagramRelay::create(Engine& engine, Replies& replies,
                                                             const model::Client& client, int listener,
                                                             std::optional<net::Sender> as) {
    std::unique_ptr<DatagramRelay> relay(new DatagramRelay(engine, {replies, client.peer, client.local, as}));
    auto file = file_with(client.datagram);
    if (!file) return std::unexpected(file.error());
    relay->input = std::move(*file);
    auto pair = make_message_pair();
    if (!pair) return std::unexpected(pair.error());
    relay->output = std::move(pair->theirs);
    relay->ours_ = std::move(pair->ours);
    if (auto had = relay->answers_.answer_from(listener); !had) return std::unexpected(had.error());
    if (auto watched = relay->watch(); !watched) return std::unexpected(watched.error());
    return relay;
}

Result<void> DatagramRelay::watch() {
    auto source = engine_.loop.io(ours_.get(), EPOLLIN, [this](std::uint32_t) {
        for (int i = 0; i < kBatch; ++i)
            if (!pass_on()) return;
    });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    return {};
}

RelayState DatagramRelay::write_down(sys::Descriptors& descriptors) const {
    RelayState state{descriptors.keep(ours_), descriptors.keep(answers_.socket), answers_.peer(), answers_.local(),
                     std::nullopt};
    if (const auto& as = answers_.as()) state.as.emplace(as->uid, as->gid);
    return state;
}

Result<std::unique_ptr<DatagramRelay>> DatagramRelay::go_on(Engine& engine, Replies& replies, const RelayState& state,
                                                            sys::Descriptors& descriptors) {
    std::optional<net::Sender> as;
    if (state.as) as = net::Sender{state.as->first, state.as->second};
    std::unique_ptr<DatagramRelay> relay(new DatagramRelay(engine, {replies, state.peer, state.local, as}));
    relay->answers_.socket = descriptors.claim(state.socket);
    if (!relay->answers_.socket) return fail("the socket that a datagram's handler answers from is missing");
    if (state.answers < 0) return relay;  // it has closed its end, and is still to be reaped
    relay->ours_ = descriptors.claim(state.answers);
    if (!relay->ours_) return fail("the socket of a datagram's handler is missing");
    if (auto watched = relay->watch(); !watched) return std::unexpected(watched.error());
    return relay;
}

void DatagramRelay::finish() {
    source_ = {};
    // The socket's buffer bounds what can be there.
    for (int i = 0; i < kMostLeft && ours_ && pass_on(); ++i) {
    }
}

bool DatagramRelay::pass_on() {
    const auto passed = answers_.pass_on(ours_.get());
    if (passed == Answers::Passed::over) {
        source_ = {};
        ours_.reset();
    }
    return passed == Answers::Passed::one;
}

}  // namespace superd::core
