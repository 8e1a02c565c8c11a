// SPDX-License-Identifier: MIT
#pragma once
// One peer's datagrams on their way to one handler, and its answers on their way back ([datagram] session).

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "core/answers.h"
#include "core/session_state.h"
#include "sys/loop.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::core {

class Sessions;

/// It begins without a handler, in Sessions, and belongs to its handler's Child from the handler's start on.
class Session {
  public:
    Session(Sessions& table, SessionRecord record);
    Session(const Session&) = delete;
    /// Leaves the table, and does no more: a successor that is tried out, and given up, shares the sockets with the
    /// superd whose handlers go on.
    ~Session();

    /// A datagram of the peer: to the handler at once where it has room, else into the queue, or dropped.
    void receive(std::string data);
    /// Makes the sockets, and returns the handler's end. `listener`: to answer from; `as`: the handler's user.
    Result<sys::Fd> open(int listener, std::optional<net::Sender> as);
    /// The handler has been started: it gets the first datagram, and what has come meanwhile.
    void began(pid_t pid, std::string first);
    /// It could not be started.
    void close();
    /// The handler reads an end behind what is here for it.
    void end_input();
    /// The handler has ended: sends what it has written, and returns the datagrams that it has not read, in order.
    std::vector<std::string> finish();
    /// Has the handler read a datagram, as finish() has found?
    bool was_read() const { return record_.given > unread_; }

    const SessionRecord& record() const { return record_; }
    pid_t pid() const { return pid_; }
    /// -1: from none.
    int answers_from() const { return answers_ ? answers_->socket.get() : -1; }
    bool has_handler() const { return pid_ != 0; }
    std::size_t queued() const { return record_.queue.size(); }

    SessionState write_down(sys::Descriptors& descriptors) const;
    static Result<std::unique_ptr<Session>> go_on(Sessions& table, pid_t pid, const SessionState& state,
                                                  sys::Descriptors& descriptors);

    /// A handler that does not read costs no more than this.
    static constexpr std::size_t kMostQueued = 64;
    static constexpr std::size_t kMostBytes = 256 << 10;

  private:
    friend class Sessions;
    Result<void> watch();
    void look(std::uint32_t events);
    /// False: its socket is full.
    bool give(const std::string& data);
    void give_queued();
    void enqueue(std::string data);
    void want(std::uint32_t events);

    Sessions& table_;
    SessionRecord record_;
    pid_t pid_ = 0;
    std::size_t bytes_ = 0;  ///< in the queue
    std::uint64_t unread_ = 0;
    sys::GuardedFd ours_;
    sys::Fd theirs_;  ///< the handler's end: what it leaves unread is read here
    std::unique_ptr<Answers> answers_;
    sys::Source source_;
    std::optional<std::list<Session*>::iterator> single_;  ///< its place among those that have had one datagram only
};

}  // namespace superd::core
