// SPDX-License-Identifier: MIT
#pragma once
// The process that has made the namespaces of a definition's sandbox and keeps them: superd-hold. Children enter them
// through it.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/counted.h"
#include "core/child_owner.h"
#include "core/engine.h"
#include "core/sandbox_state.h"
#include "proc/exec_plan.h"
#include "sys/alarm.h"
#include "sys/descriptors.h"
#include "sys/passed_rights.h"

namespace superd::core {

class Hold final : public ChildOwner {
  public:
    /// `changed`: after it has become ready, or is no longer; this object may end in there.
    Hold(Engine& engine, const conf::Service& definition, std::function<void()> changed);
    ~Hold() override;
    Hold(const Hold&) = delete;

    /// Has it made, unless it is there, on its way, or waits for its next try.
    void begin();
    bool is_ready() const { return static_cast<bool>(process_); }
    /// superd-hold has been started, and has said nothing yet.
    bool is_coming() const { return channel_ && !is_ready(); }
    /// A pidfd; only while it is ready.
    int process() const { return process_.get(); }
    pid_t pid() const { return holder_; }
    Instant since() const { return since_; }
    /// Why it is not ready; "" if it has not been tried yet.
    const std::string& trouble() const { return trouble_; }

    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;
    void overdue(pid_t pid) override;

    /// Only while it is not coming.
    HoldState write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const HoldState& state, sys::Descriptors& descriptors);

    static constexpr Duration kPatience = std::chrono::seconds(10);

  private:
    Result<void> start();
    /// Takes what it has said.
    void listen();
    /// It has a pid of its own. False: that is not superd's child, or there is no memory for it.
    bool know(pid_t pid);
    /// One that hangs in a mount may not even die. Until it has, no other is started.
    bool hangs() const { return !is_ready() && !pids_.empty(); }
    Result<void> adopt(pid_t holder);
    void fail_by(const std::string& why);
    void lost(pid_t pid, int status);
    void ring();

    Engine& engine_;
    const conf::Service& definition_;
    std::function<void()> changed_;
    std::unique_ptr<proc::ExecPlan> plan_;
    std::vector<pid_t> pids_;  ///< of children that it is the owner of
    pid_t starter_ = 0;        ///< the last that superd has started; the holder, or its parent for a moment
    pid_t holder_ = 0;         ///< once it is ready
    sys::GuardedFd channel_;   ///< where superd is not root, handlers may get hold of the other end
    sys::Fd process_;
    sys::Source source_;
    Counted unsettled_;
    std::string trouble_, told_;
    Backoff backoff_{std::chrono::milliseconds(50), std::chrono::seconds(10)};
    Instant since_{};  ///< when it became ready
    sys::Alarm alarm_;
};

}  // namespace superd::core
