// SPDX-License-Identifier: MIT
#pragma once
// One superd from its start, or from what another has left it, until it is told to stop.

#include <memory>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "control/server.h"
#include "core/supervisor.h"
#include "daemon/options.h"
#include "handover/upgrade.h"
#include "sys/service_manager.h"

namespace superd {

/// Writes on what a slow reader of the log has left waiting.
class SlowReader {
  public:
    explicit SlowReader(Log& log) : log_(log) {}
    SlowReader(const SlowReader&) = delete;
    ~SlowReader() { log_.on_slow_reader({}); }
    Result<void> attend(sys::Loop& loop);

  private:
    void later();

    Log& log_;
    sys::Source timer_;
    Backoff patience_{std::chrono::milliseconds(20), std::chrono::milliseconds(500)};
    bool waiting_ = false;
};

class Run {
  public:
    /// `before`: what another has left; nullptr: nothing.
    Run(const Options& options, const core::State* before, Log& log, std::string binary)
        : options_(options), before_(before), log_(log), binary_(std::move(binary)) {}
    Run(const Run&) = delete;

    /// First of all: reads the definitions, and makes what does not depend on them.
    Result<void> set_up();
    /// Then one of these. go_on() does not return where it is only to be proved that it could.
    Result<void> begin();
    Result<void> go_on();
    /// Until superd is told to stop: its exit status.
    Result<int> until_told();

  private:
    core::Invocation invocation() const;
    Result<void> load(const conf::Surroundings& from);
    Result<void> open_control_socket();
    void attend_control_socket();

    const Options& options_;
    const core::State* const before_;
    Log& log_;
    const std::string binary_;
    core::Supervisor::Loaded loaded_;
    std::optional<sys::Loop> loop_;
    std::unique_ptr<sys::ServiceManager> manager_;
    SlowReader slow_reader_{log_};
    std::unique_ptr<core::Supervisor> supervisor_;
    std::optional<handover::Upgrade> upgrade_;
    sys::Fd pid_file_;
    std::unique_ptr<control::Server> server_;
};

/// Ends a process that was to prove that it could take over. Without destructors: they would undo what the superd that
/// runs still uses, such as the paths of its sockets.
[[noreturn]] void end_proof(const Result<void>& outcome, const core::State* state = nullptr);

}  // namespace superd
