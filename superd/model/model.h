// SPDX-License-Identifier: MIT
#pragma once
// How one service turns clients into processes.

#include <sys/types.h>

#include <cstddef>
#include <memory>

#include "conf/service.h"
#include "model/host.h"
#include "model/reports.h"
#include "sys/archive.h"

namespace superd::model {

/// How a child ended.
enum class End {
    well,
    hasty,  ///< with 0, and so soon that nobody knows whether it was of use
    badly,  ///< before it can have been
};

class Model {
  public:
    virtual ~Model() = default;

    /// Would a client of this listener be taken now? Asked after every change; decides whether it is watched.
    virtual bool wants(std::size_t listener) const = 0;
    /// A listener that is watched is readable.
    virtual void ready(std::size_t listener) = 0;
    /// A child of this model ended, and its place is free.
    virtual void exited(pid_t pid, End end) = 0;

    /// In force from now on; called again when children can be started after a time when they could not.
    virtual void resume() {}
    virtual void woken() {}
    virtual void refill() {}
    /// No longer in force: children that wait for clients leave.
    virtual void drain() {}

    /// Processes that are ready and have no client.
    virtual std::size_t spare() const { return 0; }
    /// Writes down what the model has to remember when another process goes on with its children, or reads it back
    /// into one that has just been made. What the host was asked to wake it at is the host's to remember.
    virtual void pass(sys::Archive& archive) { archive.fields("Model", ""); }
    /// A worker has spoken.
    virtual void reported(pid_t, const Reports&) {}
};

/// The host outlives the model.
std::unique_ptr<Model> make_model(Host& host, const conf::Service& definition);

/// Clients taken at one go, so that one busy listener cannot keep the others waiting.
constexpr int kBatch = 16;

}  // namespace superd::model
