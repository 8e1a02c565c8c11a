// SPDX-License-Identifier: MIT
#pragma once
// A definition's sandbox as its children enter it, prepared once.

#include <linux/filter.h>

#include <vector>

#include "base/error.h"
#include "conf/service.h"
#include "proc/child_sandbox.h"
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

    const ChildSandbox& view() const { return view_; }
    /// The filter alone, for a program that installs it by itself; invalid: there is none.
    Result<sys::Fd> filter_file() const;

  private:
    std::vector<sock_filter> filter_;
    ChildSandbox view_{};
};

}  // namespace superd::proc
