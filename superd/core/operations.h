// SPDX-License-Identifier: MIT
#pragma once
// What an operator may ask of superd. The supervisor does it; tests of the control socket use a fake.

#include <optional>

#include "base/error.h"
#include "conf/catalog.h"
#include "core/report.h"
#include "intake/explanation.h"

namespace superd::core {

class Operations {
  public:
    virtual ~Operations() = default;

    virtual DaemonReport report() const = 0;
    /// All services, by name, including those that are only defined (enabled = false).
    virtual std::vector<ServiceReport> services() const = 0;
    /// The definitions that are in force.
    virtual const conf::Catalog& in_force() const = 0;
    /// The processes of one service, or of all if `service` is empty; at most `most`, and how many there are.
    virtual std::pair<std::vector<ProcessReport>, std::size_t> processes(const std::string& service,
                                                                         std::size_t most) const = 0;
    /// Groups that may look besides superd's own user.
    virtual const std::vector<gid_t>& readers() const = 0;

    /// What a reload would change. Changes nothing. Without `look_up` it asks no name service: users, groups and ports
    /// are errors if the last reload, or the last plan with look-ups, did not know them.
    virtual ReloadReport plan(bool look_up) = 0;
    virtual ReloadReport reload() = 0;
    /// Errors of all the following: no such service, or another reason why it cannot be done.
    virtual Result<void> pause(const std::string& service) = 0;
    virtual Result<void> resume(const std::string& service) = 0;
    virtual Result<void> drain(const std::string& service) = 0;
    /// `target`: a service, or a pid of one of superd's children. Without a signal it ends them by the service's
    /// stop_signal, and KILL after its stop_timeout. Returns the processes that were signalled.
    virtual Result<std::vector<pid_t>> kill(const std::string& target, std::optional<int> signal) = 0;
    /// `client`: an IP address, "uid:N" or "cid:N". `via`: who speaks for it by a header, an IP address or "uid:N"; "":
    /// that is not asked.
    virtual Result<intake::Explanation> explain(const std::string& service, const std::string& client,
                                                const std::string& via) = 0;
    /// Begins; DaemonReport shows the result.
    virtual Result<void> upgrade() = 0;
    virtual void stop() = 0;
    /// Says that superd is not ready, serves on for as long as [shutdown] drain says, and stops. Does nothing once
    /// superd drains or stops already.
    virtual void drain_all() = 0;
};

}  // namespace superd::core
