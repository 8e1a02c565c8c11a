// SPDX-License-Identifier: MIT
#pragma once
// The fate of replies from a service's datagram handlers: counted, and failures reported once an episode.

#include <string>

#include "core/engine.h"
#include "core/episode.h"
#include "core/stats.h"
#include "sys/address.h"

namespace superd::core {

class Replies {
  public:
    Replies(Engine& engine, const std::string& service, Stats& stats);

    void sent() { ++stats_.replies; }
    void failed(const sys::Address& peer, const Error& why);

    Episode& failures() { return failures_; }
    const Episode& failures() const { return failures_; }

  private:
    Engine& engine_;
    const std::string& service_;
    Stats& stats_;
    Episode failures_;
};

}  // namespace superd::core
