// SPDX-License-Identifier: MIT
#pragma once
// What an operator may ask of superd. The supervisor does it; tests of the control socket put something else there.

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
    /// All of them, by name, those that are only defined (enabled = false) as well.
    virtual std::vector<ServiceReport> services() const = 0;
    /// The processes of one service, or of all where `service` is empty; at most `most`, and how many there are.
    virtual std::pair<std::vector<ProcessReport>, std::size_t> processes(const std::string& service,
                                                                         std::size_t most) const = 0;
    /// Who else than superd's own user may look.
    virtual const std::vector<gid_t>& readers() const = 0;

    /// What a reload would change. Changes nothing. Without `look_up` no name service is asked: users, groups and ports
    /// that the last reload, or the last plan with it, did not know are errors.
    virtual ReloadReport plan(bool look_up) = 0;
    virtual ReloadReport reload() = 0;
    /// Errors of all that follow: no such service, and what else keeps it from being done.
    virtual Result<void> pause(const std::string& service) = 0;
    virtual Result<void> resume(const std::string& service) = 0;
    virtual Result<void> drain(const std::string& service) = 0;
    /// `target`: a service, else a pid of one of superd's children. Without a signal by the service's stop_signal,
    /// and KILL after its stop_timeout. Who was signalled.
    virtual Result<std::vector<pid_t>> kill(const std::string& target, std::optional<int> signal) = 0;
    /// `client`: an IP address, "uid:N" or "cid:N".
    virtual Result<intake::Explanation> explain(const std::string& service, const std::string& client) = 0;
    /// Begins; DaemonReport tells what becomes of it.
    virtual Result<void> upgrade() = 0;
    virtual void stop() = 0;
};

}  // namespace superd::core
