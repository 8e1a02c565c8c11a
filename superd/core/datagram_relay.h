// SPDX-License-Identifier: MIT
#pragma once
// The way of one datagram through one handler (model fork): a file that holds it, and a socket whose messages go back
// to its sender, each as one datagram.

#include "core/answers.h"
#include "core/engine.h"
#include "model/host.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::core {

struct RelayState;

class DatagramRelay {
  public:
    /// `listener`: the socket to answer from; the relay keeps a descriptor of its own.
    /// `as`: the handler's user.
    static Result<std::unique_ptr<DatagramRelay>> create(Engine& engine, Replies& replies, const model::Client& client,
                                                         int listener, std::optional<net::Sender> as);
    RelayState write_down(sys::Descriptors& descriptors) const;
    static Result<std::unique_ptr<DatagramRelay>> go_on(Engine& engine, Replies& replies, const RelayState& state,
                                                        sys::Descriptors& descriptors);
    DatagramRelay(const DatagramRelay&) = delete;

    /// Its handler has ended: sends what it has written. The destructor does not, since a successor that is tried out,
    /// and given up, shares the sockets with the superd whose handlers go on.
    void finish();
    int answers_from() const { return answers_.socket.get(); }

    /// The handler's ends; each may be taken once.
    sys::Fd input, output;

  private:
    DatagramRelay(Engine& engine, Answers answers) : engine_(engine), answers_(std::move(answers)) {}
    Result<void> watch();
    bool pass_on();

    Engine& engine_;
    Answers answers_;
    sys::GuardedFd ours_;
    sys::Source source_;
};

}  // namespace superd::core
