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
    hasty,  ///< with 0, but too early to know whether it was of use
    badly,  ///< too early to have been of use
};

class Model {
  public:
    virtual ~Model() = default;

    /// Would a client of this listener be taken now? Asked after every change; decides whether it is watched.
    virtual bool wants(std::size_t listener) const = 0;
    /// A watched listener is readable.
    virtual void ready(std::size_t listener) = 0;
    /// A child of this model ended, and its place is free.
    virtual void exited(pid_t pid, End end) = 0;

    /// What park() has said is coming: it waits now, or will not.
    virtual void parked(pid_t) {}
    virtual void park_failed() {}
    /// Those that wait, and those that are coming, are out of date and serve nobody. resume() follows.
    virtual void stale() {}

    /// In force from now on; called again when children can be started after a time when they could not.
    virtual void resume() {}
    virtual void woken() {}
    virtual void refill() {}
    /// No longer in force: children that wait for clients leave.
    virtual void drain() {}

    /// The number of ready processes without a client.
    virtual std::size_t spare() const { return 0; }
    /// Writes down what the model must remember when another process continues with its children, or reads it back into
    /// a new model. The host remembers when to wake the model.
    virtual void pass(sys::Archive& archive) { archive.fields("Model", ""); }
    /// A worker has sent reports.
    virtual void reported(pid_t, const Reports&) {}
};

/// The host outlives the model.
std::unique_ptr<Model> make_model(Host& host, const conf::Service& definition);

/// Clients taken in one go, so that one busy listener does not keep the others waiting.
constexpr int kBatch = 16;

}  // namespace superd::model
