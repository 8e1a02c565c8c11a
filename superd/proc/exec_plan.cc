// SPDX-License-Identifier: MIT
#include "proc/exec_plan.h"

#include <algorithm>

namespace superd::proc {

const char* name_of(Step step) {
    switch (step) {
        case Step::none:
            return "none";
        case Step::cgroup:
            return "cgroup";
        case Step::descriptors:
            return "descriptors";
        case Step::session:
            return "session";
        case Step::signals:
            return "signals";
        case Step::resource_limits:
            return "rlimits";
        case Step::root_directory:
            return "root_directory";
        case Step::working_directory:
            return "working_directory";
        case Step::priority:
            return "nice";
        case Step::groups:
            return "supplementary_groups";
        case Step::group:
            return "group";
        case Step::user:
            return "user";
        case Step::capabilities:
            return "capabilities";
        case Step::keyring:
            return "keyring";
        case Step::credentials:
            return "credentials";
        case Step::exec:
            return "exec";
        case Step::namespaces:
            return "sandbox namespaces";
        case Step::bounding_set:
            return "sandbox.capabilities";
        case Step::ambient_capabilities:
            return "sandbox.ambient_capabilities";
        case Step::no_new_privileges:
            return "sandbox.no_new_privileges";
        case Step::paths:
            return "sandbox paths";
        case Step::filter:
            return "sandbox.syscalls";
    }
    return "unknown";
}

ExecPlan::ExecPlan(const conf::Handler& handler, const conf::Sandbox& sandbox, const rlimit& started_nofile)
    : handler_(handler), confinement_(sandbox, handler) {
    for (std::string& word : handler_.argv) argv_.push_back(word.data());
    argv_.push_back(nullptr);
    for (std::string& variable : handler_.environment) environment_.push_back(variable.data());
    for (const conf::ResourceLimit& limit : handler_.rlimits)
        limits_.push_back({limit.resource, {limit.soft, limit.hard}});
    const auto is_nofile = [](const ChildLimit& limit) { return limit.resource == RLIMIT_NOFILE; };
    if (std::ranges::none_of(limits_, is_nofile))
        limits_.push_back({RLIMIT_NOFILE, {started_nofile.rlim_cur, started_nofile.rlim_max}});

    view_.program = view_.holder = -1;
    view_.ruleset = confinement_.ruleset();
    view_.sandbox = confinement_.view();
    view_.path = handler_.path.c_str();
    view_.argv = argv_.data();
    view_.limits = limits_.data();
    view_.limit_count = limits_.size();
    view_.root_directory = handler_.root_directory.empty() ? nullptr : handler_.root_directory.c_str();
    view_.working_directory = handler_.working_directory.c_str();
    view_.umask = handler_.umask;
    view_.nice = handler_.nice;
    if (handler_.identity) {
        view_.change_identity = true;
        view_.uid = handler_.identity->uid;
        view_.gid = handler_.identity->gid;
        view_.groups = handler_.identity->groups.data();
        view_.group_count = handler_.identity->groups.size();
    }
}

void ExecPlan::start_by(int program, const char* name, Start start) {
    starter_ = name;
    argv_.insert(argv_.begin(), {starter_.data(), handler_.path.data()});
    view_.argv = argv_.data();
    view_.path = nullptr;
    view_.program = program;
    confinement_.begin_by_other(start);
    view_.sandbox = confinement_.view();
}

}  // namespace superd::proc
