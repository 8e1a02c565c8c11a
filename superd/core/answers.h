// SPDX-License-Identifier: MIT
#pragma once
// The way back of what a handler writes: each message becomes a datagram to its peer, from the address that was asked.

#include "core/replies.h"
#include "net/datagram.h"
#include "sys/passed_rights.h"

namespace superd::core {

class Answers {
  public:
    /// `as`: the handler's user.
    Answers(Replies& replies, sys::Address peer, sys::Address local, std::optional<net::Sender> as)
        : replies_(replies), peer_(std::move(peer)), local_(std::move(local)), as_(as) {}
    /// `listener`: the socket to answer from; its own descriptor of it is kept.
    Result<void> answer_from(int listener);
    /// The next message of superd's end of the pair with the handler.
    enum class Passed {
        one,
        none,  ///< for now
        over,  ///< nobody writes any more, or nothing behind it can be read
    };
    Passed pass_on(int from);

    const sys::Address& peer() const { return peer_; }
    const sys::Address& local() const { return local_; }
    const std::optional<net::Sender>& as() const { return as_; }
    sys::GuardedFd socket;

  private:
    Replies& replies_;
    sys::Address peer_, local_;
    std::optional<net::Sender> as_;
};

/// A pair whose messages keep their bounds: superd's end, which lets no descriptors in, and the handler's.
struct MessagePair {
    sys::GuardedFd ours;
    sys::Fd theirs;
};
Result<MessagePair> make_message_pair();

}  // namespace superd::core
