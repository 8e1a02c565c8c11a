// SPDX-License-Identifier: MIT
#pragma once
// One handler at a time; the next client waits in the kernel. With handoff "listen", and so for datagrams, the handler
// owns the socket until it leaves (inetd's wait).

#include "base/backoff.h"
#include "model/model.h"

namespace superd::model {

class Iterative final : public Model {
  public:
    Iterative(Host& host, conf::Handoff handoff) : host_(host), handoff_(handoff) {}
    bool wants(std::size_t) const override { return running_ == 0 && !throttled_ && !host_.others_running(); }
    void ready(std::size_t listener) override;
    void exited(pid_t pid, End end) override;
    void woken() override { throttled_ = false; }
    void pass(sys::Archive& archive) override { SUPERD_PASS(archive, Iterative, running_, throttled_, backoff_); }

  private:
    Host& host_;
    conf::Handoff handoff_;
    pid_t running_ = 0;
    bool throttled_ = false;  ///< an owner that fails at once leaves its socket readable: do not spin
    Backoff backoff_{std::chrono::milliseconds(50), std::chrono::seconds(10)};
};

}  // namespace superd::model
