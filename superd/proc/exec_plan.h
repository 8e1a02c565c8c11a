// SPDX-License-Identifier: MIT
#pragma once
// All that a child reads between clone and exec, prepared by its parent.

#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "conf/service.h"
#include "proc/child.h"
#include "proc/confinement.h"
#include "sys/fd.h"
#include "sys/passed_rights.h"

namespace superd::proc {

/// The step at which a child failed.
enum class Step {
    none,
    cgroup,
    descriptors,
    session,
    signals,
    resource_limits,
    root_directory,
    working_directory,
    priority,
    groups,
    group,
    user,
    capabilities,
    keyring,
    credentials,
    exec,
    namespaces,
    bounding_set,
    ambient_capabilities,
    no_new_privileges,
    paths,
    filter,
};
const char* name_of(Step);

struct SpawnFailure {
    Step step = Step::none;
    int code = 0;               ///< errno
    sys::GuardedFd connection;  ///< what was to become its stdin, if it could be given back

    /// The handler is not to blame: something is scarce, or the holder of its sandbox has just ended.
    bool is_scarcity() const { return proc::is_scarcity(code) || (step == Step::namespaces && code == ESRCH); }
};

/// What every child of a definition shares. Immovable: it points into itself.
class ExecPlan {
  public:
    /// `started_nofile`: the descriptor limit with which superd was started; handlers get it back.
    ExecPlan(const conf::Handler& handler, const conf::Sandbox& sandbox, const rlimit& started_nofile);
    ExecPlan(const ExecPlan&) = delete;

    /// Starts `program`, a low-numbered descriptor that outlives the plan, instead of the handler; the handler's path
    /// and words become its arguments. `name`: what it sees as its own. `start`: which of superd's calls the handler's
    /// filter has to permit.
    void start_by(int program, const char* name, Start start);

    /// For that program: a file with the system call filter, which it installs by itself. Invalid: there is none.
    Result<sys::Fd> filter() const { return starter_.empty() ? sys::Fd() : confinement_.filter_file(); }

    /// Everything except what differs for each child: sources, environment, listen_pid, wake.
    const ChildView& view() const { return view_; }
    /// Has no final nullptr.
    const std::vector<char*>& environment() const { return environment_; }

  private:
    conf::Handler handler_;
    Confinement confinement_;
    std::string starter_;
    std::vector<char*> argv_, environment_;
    std::vector<ChildLimit> limits_;
    ChildView view_{};
};

}  // namespace superd::proc
