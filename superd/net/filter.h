// SPDX-License-Identifier: MIT
#pragma once
// Access lists as socket filters: what they deny is dropped in the kernel and wakes nobody. For IP sockets alone.

#include <linux/filter.h>

#include <vector>

#include "base/error.h"
#include "conf/service.h"

namespace superd::net::filter {

/// Classic BPF for SO_ATTACH_FILTER on TCP listeners and UDP sockets, IPv4, IPv6 and dual stack.
using Program = std::vector<sock_filter>;

/// Passes a packet exactly where admit::AccessRules allows its source. The times are not part of it. An error where
/// the lists are too long for the kernel.
Result<Program> compile(const conf::Access& access);

/// Drops every packet.
Program deny_all();

/// Replaces the filter before it with no packet between the two. What already waits in the socket stays there; a
/// connection keeps the filter under which it came. ENOMEM: old and new together are over net.core.optmem_max.
Result<void> attach(int fd, const Program& program);

/// Lets all pass; without a filter nothing happens.
Result<void> detach(int fd);

}  // namespace superd::net::filter
