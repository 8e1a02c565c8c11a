// SPDX-License-Identifier: MIT
#pragma once
// A definition's sandbox as its children enter it, prepared once.

#include <linux/filter.h>

#include <vector>

#include "base/error.h"
#include "conf/service.h"
#include "proc/child_sandbox.h"
#include "proc/syscall_filter.h"
#include "sys/fd.h"

namespace superd::proc {

/// May this process make namespaces and mounts without a user namespace? Its own effective CAP_SYS_ADMIN.
bool is_administrator();

/// CLONE_NEW* flags of the namespaces that a handler does not share with superd.
int namespaces_of(const conf::Sandbox& sandbox, bool administrator);

/// Immovable: its view points into it.
class Confinement {
  public:
    Confinement(const conf::Sandbox& sandbox, const conf::Handler& handler);
    Confinement(const Confinement&) = delete;

    /// Another program begins in the handler's stead, and installs the filter by itself.
    void begin_by_other(Start start);

    const ChildSandbox& view() const { return view_; }
    /// Of Landlock. -1: there is none to be; -2: it could not be made, so that nobody may be started.
    int ruleset() const { return ruleset_ ? ruleset_.get() : has_ruleset_ ? -2 : -1; }
    /// The filter alone, for a program that installs it by itself; invalid: there is none.
    Result<sys::Fd> filter_file() const;

  private:
    const conf::Sandbox sandbox_;
    std::vector<sock_filter> filter_;
    bool has_ruleset_ = false;
    sys::Fd ruleset_;
    ChildSandbox view_{};
};

}  // namespace superd::proc
