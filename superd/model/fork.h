// SPDX-License-Identifier: MIT
#pragma once
// One handler for each connection or datagram, at once.

#include "model/model.h"

namespace superd::model {

class Fork final : public Model {
  public:
    explicit Fork(Host& host) : host_(host) {}
    bool wants(std::size_t) const override { return true; }
    void ready(std::size_t listener) override;
    void exited(pid_t, End) override {}

  private:
    Host& host_;
};

}  // namespace superd::model
