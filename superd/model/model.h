// SPDX-License-Identifier: MIT
#pragma once
// How one service turns clients into processes.

#include <sys/types.h>

#include <cstddef>
#include <memory>

#include "conf/service.h"
#include "model/host.h"

namespace superd::model {

class Model {
  public:
    virtual ~Model() = default;

    /// Would a client of this listener be taken now? Asked after every change; decides whether it is watched.
    virtual bool wants(std::size_t listener) const = 0;
    /// A listener that is watched is readable.
    virtual void ready(std::size_t listener) = 0;
    /// A child of this model ended. `early`: before it can have been of use.
    virtual void exited(pid_t pid, bool early) = 0;

    /// In force from now on; called again when children can be started after a time when they could not.
    virtual void resume() {}
    virtual void woken() {}
    virtual void refill() {}
    /// No longer in force: children that wait for clients leave.
    virtual void drain() {}

    /// Processes that are ready and have no client.
    virtual std::size_t spare() const { return 0; }
    /// A worker says that it took or finished a request.
    virtual void reported(pid_t, bool /*busy*/) {}
};

/// The host outlives the model.
std::unique_ptr<Model> make_model(Host& host, const conf::Service& definition);

/// Clients taken at one go, so that one busy listener cannot keep the others waiting.
constexpr int kBatch = 16;

}  // namespace superd::model
