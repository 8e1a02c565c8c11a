// SPDX-License-Identifier: MIT
#pragma once
// A backend that runs only while it is needed, as the proxy sees it.

#include <optional>
#include <string>

#include "proxy/keeper.h"

namespace proxy {

/// Time and the channel come in by calls; it never waits.
class Backend {
  public:
    /// `channel` is start_keeper()'s.
    Backend(const Options& options, Fd channel) : options_(options), channel_(std::move(channel)) {}

    int fd() const { return channel_.get(); }
    bool is_ready() const { return state_ == State::ready; }
    bool is_off() const { return state_ == State::off || state_ == State::pausing; }
    /// Whether it is worth while to try to connect.
    bool may_be_tried() const;

    /// There are clients who wait for it, or none. It is started, or started again after a pause.
    void want(bool wanted);
    /// Somebody has waited for it in vain.
    void missed() { missed_ = true; }
    /// Somebody has been connected.
    void connected(Instant now);
    /// Nobody could be, although it had been ready: it is as good as starting.
    void doubt(Instant now);
    /// No client is left, or one has come.
    void idle(bool idle, Instant now);
    void stop();

    /// The channel is readable. Ends the program if the keeper has gone, which ends the backend too.
    void hear(Instant now);
    /// `serves`: somebody is connected to it.
    void tick(Instant now, bool serves = false);
    std::optional<Instant> due() const;
    /// Why clients wait, for those who have waited too long.
    const std::string& trouble() const { return trouble_; }

    static constexpr Duration kFirstPause = std::chrono::milliseconds(100);
    static constexpr Duration kLongestPause = std::chrono::seconds(10);
    /// One that has been ready for this long has not failed to start.
    static constexpr Duration kProof = std::chrono::seconds(10);

  private:
    enum class State { off, asked, starting, ready, stopping, pausing };

    void order(Order what);
    void heard(const News& news, Instant now);
    void ended(const std::string& how, bool well, Instant now);
    void pause(Instant now);

    const Options& options_;
    Fd channel_;
    State state_ = State::off;
    bool wanted_ = false;
    bool said_ready_ = false;
    bool missed_ = false;   ///< since it was started
    bool doubted_ = false;  ///< it has been ready
    bool failed_ = false;   ///< it is being stopped because it did not become ready
    Duration next_pause_ = kFirstPause;
    Instant ready_since_;
    std::optional<Instant> deadline_;  ///< of the state
    std::optional<Instant> idle_until_;
    std::string trouble_;
};

}  // namespace proxy
