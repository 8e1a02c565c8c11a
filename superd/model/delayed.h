// SPDX-License-Identifier: MIT
#pragma once
// Iterative while requests are short. A handler that is still busy after `delay` no longer holds up the next one.

#include "model/model.h"

namespace superd::model {

class Delayed final : public Model {
  public:
    Delayed(Host& host, Duration delay) : host_(host), delay_(delay) {}
    bool wants(std::size_t) const override { return fresh_ == 0 && !inherited_; }
    void ready(std::size_t listener) override;
    void exited(pid_t pid, End) override;
    void resume() override;
    void woken() override;
    void pass(sys::Archive& archive) override { SUPERD_PASS(archive, Delayed, fresh_, begun_, inherited_); }

  private:
    Host& host_;
    Duration delay_;
    pid_t fresh_ = 0;  ///< the one handler that has run for less than `delay`
    bool begun_ = false;
    bool inherited_ = false;  ///< handlers of the previous definition may still be that young
};

}  // namespace superd::model
