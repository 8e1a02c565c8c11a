// SPDX-License-Identifier: MIT
#pragma once
// Processes that wait for their clients, and take one each.

#include <deque>
#include <optional>

#include "base/backoff.h"
#include "model/model.h"

namespace superd::model {

/// handoff "connection": parked processes that take one connection each. Clients beyond them are served as under fork;
/// the number kept parked doubles from min_spare to max_spare while bursts use them up, and halves again after each
/// max_idle without a burst. The pool is refilled in a pause between clients: if they come without one, parking takes
/// one, what parking costs would be taken from them, and it would gain them nothing. How a process comes to be parked,
/// and how long that takes, is the host's to know.
class PreforkConnection final : public Model {
  public:
    PreforkConnection(Host& host, const conf::Prefork& prefork);
    bool wants(std::size_t) const override { return true; }
    void ready(std::size_t listener) override;
    void exited(pid_t pid, End end) override;
    void resume() override { refill(); }
    void woken() override;
    void refill() override;
    void parked(pid_t pid) override;
    void park_failed() override;
    void stale() override;
    void drain() override;
    std::size_t spare() const override { return parked_.size(); }
    void pass(sys::Archive& archive) override {
        SUPERD_PASS(archive, Prefork, target_, last_client_, exhausted_, refill_at_, retry_at_, timer_, dying_,
                    drained_, backoff_, scarce_, parked_, coming_);
    }

    static constexpr Duration kDefaultIdle = std::chrono::seconds(60);

  private:
    void fill_up();
    /// Those that wait, and those that soon will.
    std::size_t spares() const { return parked_.size() + coming_; }
    void let_go(std::size_t most);
    void set_timer();

    Host& host_;
    std::size_t least_, most_, target_;
    Duration idle_;
    Instant last_client_;
    Instant exhausted_;                 ///< when a client last found no parked process
    std::optional<Instant> refill_at_;  ///< or later, if clients still come then
    std::optional<Instant> retry_at_;   ///< park none until then
    std::optional<Instant> timer_;      ///< as set with the host
    bool dying_ = false;                ///< because the last one left by itself, at once: the handler's fault
    bool drained_ = false;
    Backoff backoff_{std::chrono::milliseconds(20), std::chrono::milliseconds(900)};  ///< when they die
    Backoff scarce_{std::chrono::milliseconds(100), std::chrono::seconds(2)};         ///< when there is no room for one
    std::deque<pid_t> parked_;
    std::size_t coming_ = 0;
};

}  // namespace superd::model
