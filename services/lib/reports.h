// SPDX-License-Identifier: MIT
#pragma once
// What a worker of a pool tells superd on SUPERD_STATUS_FD, and how superd tells it to leave.
//
// Each record is five bytes: "busy\n" for each client taken, and "idle\n" for room for one more. A worker starts with
// one "idle" for each thread, then sends one when each client is done. A message holds one or more records and counts
// as a whole. superd closes its side to make the worker leave.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace worker {

/// At most one in the life of a process. Many threads may call its functions, a signal handler flush().
class Reports {
  public:
    /// `fd` may be a number inherited from an ancestor without the descriptor: then it reports nothing.
    explicit Reports(std::optional<int> fd);
    ~Reports();  ///< no alarm comes any more
    Reports(const Reports&) = delete;

    /// Sends SIGIO to this process when superd closes its side, which may have happened already.
    void watch();
    bool is_closed() const;

    void busy() { note(1, 0); }
    void idle(std::uint32_t clients = 1) { note(0, clients); }
    /// This many clients were served together; busy() has reported the first. The others are reported together with the
    /// room that they free: a worker never takes more clients than it has announced room for.
    void idle_after(std::uint32_t clients) { note(clients - 1, clients); }
    /// Sends what has waited. Call it on SIGALRM.
    void flush();

    /// The first report after a silence is sent at once; later ones within this time are sent together, on SIGALRM. So
    /// a busy worker spends nothing on reports that superd has no use for.
    static constexpr std::chrono::milliseconds kTogether{5};

  private:
    void note(std::uint32_t busy, std::uint32_t idle);
    void send_later();

    int fd_;
    std::atomic<std::uint64_t> waiting_ = 0;  ///< busy in the upper half, idle in the lower
    std::atomic<std::int64_t> sent_at_ = 0;   ///< nanoseconds of CLOCK_MONOTONIC
    std::atomic<bool> armed_ = false;
    std::atomic<bool> sending_ = false;  ///< one thread at a time, so that no "idle" overtakes its "busy"
};

}  // namespace worker
