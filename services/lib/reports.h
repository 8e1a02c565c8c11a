// SPDX-License-Identifier: MIT
#pragma once
// What a worker of a pool tells superd on SUPERD_STATUS_FD, and how superd tells it to leave.
//
// Each record is five bytes, "busy\n" for a client that was taken and "idle\n" for room for one more: at the start one
// for each thread, then one for each client that is done with. A message holds one or more of them and is counted
// as a whole. superd closes its side when the worker is to leave.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace worker {

/// One in the life of a process. Its functions may be called by many threads, flush() by a signal handler.
class Reports {
  public:
    /// `fd` may be a number that came down from an ancestor without the descriptor: then nothing is reported.
    explicit Reports(std::optional<int> fd);

    /// Has SIGIO sent to this process when superd closes its side, which it may have done already.
    void watch();
    bool is_closed() const;

    void busy() { note(1, 0); }
    void idle(std::uint32_t clients = 1) { note(0, clients); }
    /// So many clients were served together, of which busy() has told of the first. The others are told of together
    /// with the room that they leave: a worker never takes more than it has said that it has room for.
    void idle_after(std::uint32_t clients) { note(clients - 1, clients); }
    /// Sends what has waited. Called when SIGALRM comes.
    void flush();

    /// A report after a silence goes at once; those that follow within this time go together, when SIGALRM comes. So
    /// a worker under load spends nothing on reports that superd would have no use for.
    static constexpr std::chrono::milliseconds kTogether{5};

  private:
    void note(std::uint32_t busy, std::uint32_t idle);
    void send_later();

    int fd_;
    std::atomic<std::uint64_t> waiting_ = 0;  ///< busy in the upper half, idle in the lower
    std::atomic<std::int64_t> sent_at_ = 0;   ///< nanoseconds of CLOCK_MONOTONIC
    std::atomic<bool> armed_ = false;
    std::atomic<bool> sending_ = false;  ///< by one at a time, so that no "idle" overtakes its "busy"
};

}  // namespace worker
