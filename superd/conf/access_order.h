// SPDX-License-Identifier: MIT
#pragma once
// The order in which access lists decide: both the user-space search and the kernel filter's compiler start here.

#include <vector>

#include "conf/service.h"
#include "sys/prefix.h"

namespace superd::conf {

struct AccessRule {
    sys::Prefix prefix;
    bool deny = false;
    bool operator==(const AccessRule&) const = default;
};

/// The first rule that contains an address decides; if none does, `deny_rest`.
struct AccessOrder {
    /// IPv4, then IPv6; within a family the longest first; within a length by base, each prefix once.
    std::vector<AccessRule> rules;
    bool deny_rest = false;
};

AccessOrder access_order(const Access& access);

}  // namespace superd::conf
