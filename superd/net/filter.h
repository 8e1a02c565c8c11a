// SPDX-License-Identifier: MIT
#pragma once
// Access lists as socket filters: the kernel drops what they deny, which then wakes nobody. For IP sockets only.

#include <linux/filter.h>

#include <vector>

#include "base/error.h"
#include "conf/service.h"

namespace superd::net::filter {

/// Classic BPF for SO_ATTACH_FILTER on TCP listeners and UDP sockets, IPv4, IPv6 and dual stack.
using Program = std::vector<sock_filter>;

/// Passes a packet exactly if admit::AccessRules allows its source. Times are not part of it. An error if the lists are
/// too long for the kernel.
Result<Program> compile(const conf::Access& access);

/// Drops every packet.
Program deny_all();

/// Replaces the previous filter atomically: no packet passes between the two. What already waits in the socket stays
/// there; a connection keeps the filter under which it came. ENOMEM: old and new together exceed net.core.optmem_max.
Result<void> attach(int fd, const Program& program);

/// Lets everything pass; does nothing without a filter.
Result<void> detach(int fd);

}  // namespace superd::net::filter
