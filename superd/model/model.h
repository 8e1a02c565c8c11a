// SPDX-License-Identifier: MIT
#pragma once
// How one service turns clients into processes.

#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "conf/service.h"
#include "model/host.h"

namespace superd::model {

/// What a worker has said of itself: "busy" for a client that it took, "idle" for room for one more.
struct Reports {
    int free = 0;               ///< clients for which there is room
    int slots = 0;              ///< the most that this ever was; 0: it has not spoken
    std::uint64_t clients = 0;  ///< that it has taken

    bool any() const { return slots > 0; }
    bool idle() const { return free >= slots; }
    /// Past all sense; a worker may say what it likes.
    static constexpr int kMost = 1024;

    /// All that came together, since a worker's word is only true as a whole.
    void add(int busy, int more_idle) {
        // Who has never said that there is room has it for one client at a time.
        free = std::clamp(free + more_idle - busy, 0, kMost);
        slots = std::max({slots, free, 1});
        clients += static_cast<std::uint64_t>(busy);
    }
};

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
    /// A worker has spoken.
    virtual void reported(pid_t, const Reports&) {}
};

/// The host outlives the model.
std::unique_ptr<Model> make_model(Host& host, const conf::Service& definition);

/// Clients taken at one go, so that one busy listener cannot keep the others waiting.
constexpr int kBatch = 16;

}  // namespace superd::model
