// SPDX-License-Identifier: MIT
#pragma once
// A superd that only records what it is asked to do.

#include "core/operations.h"

namespace superd::control {

class Pretended final : public core::Operations {
  public:
    core::DaemonReport report() const override { return {}; }
    std::vector<core::ServiceReport> services() const override {
        core::ServiceReport service;
        service.name = "echo";
        service.description = "\"quoted\" \xff";
        service.status = core::Status::listening;
        if (!held.empty()) service.status = held == "paused" ? core::Status::paused : core::Status::draining;
        service.model = "fork";
        service.handoff = "connection";
        service.listeners.push_back({"tcp://127.0.0.1:7", true});
        service.stats.handler_time.add(std::chrono::milliseconds(3));
        return {service};
    }
    const conf::Catalog& in_force() const override { return catalog; }
    std::pair<std::vector<core::ProcessReport>, std::size_t> processes(const std::string&, std::size_t) const override {
        core::ProcessReport process;
        process.service = "echo";
        process.pid = 7;
        return {{process}, 1};
    }
    const std::vector<gid_t>& readers() const override { return readers_; }
    core::ReloadReport plan(bool look_up) override {
        looked_up = look_up;
        return {refuses, complaints(), {{"echo", conf::Change::renew, {"exec"}}}};
    }
    core::ReloadReport reload() override {
        done += "reload ";
        return plan(true);
    }
    Result<void> pause(const std::string& name) override { return hold(name, "paused"); }
    Result<void> resume(const std::string& name) override { return hold(name, ""); }
    Result<void> drain(const std::string& name) override { return hold(name, "draining"); }
    Result<std::vector<pid_t>> kill(const std::string& target, std::optional<int> signal) override {
        done += "kill " + target + " " + std::to_string(signal.value_or(0)) + " ";
        return std::vector<pid_t>{7};
    }
    Result<intake::Explanation> explain(const std::string&, const std::string&, const std::string&) override {
        return intake::Explanation{{{"per_source", intake::Explanation::Outcome::held, "4 of 4"}}};
    }
    Result<void> upgrade() override {
        done += "upgrade ";
        return {};
    }
    void stop() override { done += "stop "; }
    void drain_all() override { done += "drain-all "; }

    std::string done, held;
    bool refuses = false, looked_up = false;
    conf::Catalog catalog;

  private:
    Result<void> hold(const std::string& name, const char* state) {
        if (name != "echo") return fail("no service \"" + name + "\"");
        held = state;
        return {};
    }
    std::vector<core::Complaint> complaints() const {
        if (!refuses) return {};
        return {{"", {{"conf.d/echo.toml", 3, 9, 1, "model = 1"}, "model: no"}}};
    }
    std::vector<gid_t> readers_;
};

}  // namespace superd::control
