// SPDX-License-Identifier: MIT
#pragma once
// Processes that are there before their clients.

#include <deque>
#include <unordered_map>
#include <vector>

#include "base/backoff.h"
#include "model/model.h"

namespace superd::model {

/// handoff "connection": parked processes that take one connection each. Clients past the parked ones are served
/// as under fork; the number kept parked doubles from min_spare to max_spare while bursts use them up, and halves
/// again after each max_idle without one.
class PreforkConnection final : public Model {
  public:
    PreforkConnection(Host& host, const conf::Prefork& prefork);
    bool wants(std::size_t) const override { return true; }
    void ready(std::size_t listener) override;
    void exited(pid_t pid, bool early) override;
    void resume() override { refill(); }
    void woken() override;
    void refill() override;
    void drain() override;
    std::size_t spare() const override { return parked_.size(); }

    static constexpr Duration kDefaultIdle = std::chrono::seconds(60);

  private:
    Host& host_;
    std::size_t least_, most_, target_;
    Duration idle_;
    Instant exhausted_;       ///< when a client last found nobody parked
    bool throttled_ = false;  ///< woken() tries again
    bool dying_ = false;      ///< because the last one left by itself, at once: the handler's fault
    bool drained_ = false;
    Backoff backoff_{std::chrono::milliseconds(100), std::chrono::seconds(30)};  ///< when they die
    Backoff scarce_{std::chrono::milliseconds(100), std::chrono::seconds(2)};    ///< when there is no place for one
    std::deque<pid_t> parked_;
};

/// handoff "listen": long-lived workers that accept for themselves, min_spare of them on each listener.
class PreforkListen final : public Model {
  public:
    PreforkListen(Host& host, const conf::Service& definition);
    bool wants(std::size_t) const override { return false; }
    void ready(std::size_t) override {}
    void exited(pid_t pid, bool early) override;
    void resume() override { refill(); }
    void woken() override;
    void refill() override;
    void drain() override;
    std::size_t spare() const override { return workers_.size() - busy_; }
    void reported(pid_t pid, bool busy) override;

  private:
    struct Worker {
        std::size_t listener = 0;
        int requests = 0;  ///< under way
        Instant started;
    };
    Host& host_;
    std::size_t wanted_;  ///< on each listener
    std::size_t most_;    ///< in all
    std::optional<Duration> max_age_;
    bool throttled_ = false, dying_ = false;  ///< as above
    bool drained_ = false;
    std::size_t busy_ = 0;
    Backoff backoff_{std::chrono::milliseconds(100), std::chrono::seconds(30)};  ///< when they die
    Backoff scarce_{std::chrono::milliseconds(100), std::chrono::seconds(2)};    ///< when there is no place for one
    std::unordered_map<pid_t, Worker> workers_;
    std::vector<std::size_t> count_;  ///< by listener
    void wake_for_age();
};

}  // namespace superd::model
