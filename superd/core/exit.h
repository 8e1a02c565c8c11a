// SPDX-License-Identifier: MIT
#pragma once
// How a child ended, and what its end says about its handler.

#include <signal.h>

#include <optional>
#include <string>
#include <utility>

#include "admit/penalties.h"
#include "core/child_record.h"
#include "core/stats.h"
#include "model/model.h"
#include "proc/parking.h"
#include "proc/spawner.h"

namespace superd::core {

class Exit {
  public:
    using Kind = ChildRecord::Kind;
    /// `status`: from wait4(2). `failure`: why it did not reach its program. `child` outlives this.
    Exit(const ChildRecord& child, int status, std::optional<proc::SpawnFailure> failure, Instant time)
        : child_(child),
          status_(status),
          failure_(std::move(failure)),
          scarcity_(failure_ && failure_->connection && failure_->is_scarcity()),
          lived_(time - child.started) {}

    std::optional<proc::SpawnFailure>& failure() { return failure_; }
    Duration lived() const { return lived_; }
    bool by_signal() const;
    /// The signal, or the exit status.
    int number() const;
    /// "exit status 3", "killed by SIGSEGV"
    std::string how() const;

    /// The handler is not to blame for its failed start, and its client is here and waits for the next try.
    bool is_scarcity() const { return scarcity_; }
    /// superd, or an operator, told it to end.
    bool as_told() const;
    bool is_abnormal() const { return status_ != 0 && !as_told(); }
    /// Did the handler start well? nullopt: this end does not tell.
    std::optional<bool> started_well() const;
    /// Killed, and not by superd: the kernel may have done it for want of memory. note_for_memory(): it has.
    bool may_be_for_memory() const { return by_signal() && number() == SIGKILL && !as_told(); }
    void note_for_memory(bool so) { for_memory_ = so; }
    bool is_for_memory() const { return for_memory_; }
    /// What the model gets. `unread`: owners keep leaving the datagram that they are started for. `counts_requests`: it
    /// must leave after a number of requests.
    model::End end(bool unread, bool counts_requests) const;
    /// What it earns the client. nullopt: nothing, since the handler has ended well, as it was told, for a reason that
    /// is not the client's, or because the client had left (SIGPIPE).
    std::optional<admit::Offence> offence() const;

    void count(Stats& stats) const;

    /// A child that fails sooner than this without a request is not worth replacing at once.
    static constexpr Duration kEarly = std::chrono::seconds(1);
    /// A handler that fails sooner than this has hardly looked at its client; a worker or parked process that leaves
    /// sooner has not waited for one.
    static constexpr Duration kBadStart = std::chrono::milliseconds(100);

  private:
    /// It has served no client.
    bool is_useless() const;

    const ChildRecord& child_;
    const int status_;
    std::optional<proc::SpawnFailure> failure_;
    const bool scarcity_;
    const Duration lived_;
    bool for_memory_ = false;
};

}  // namespace superd::core
