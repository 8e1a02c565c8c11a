// SPDX-License-Identifier: MIT
#pragma once
// What this machine does not provide of what a definition has by a preset or by [defaults].

#include <string>
#include <vector>

namespace superd::conf {

struct Service;

/// The members of the table are as if the key were not set.
struct LeftOut {
    std::string key;  ///< in full, such as "sandbox.private_tmp"
    std::string why;
    bool operator==(const LeftOut&) const = default;
};

/// Of all tables.
std::vector<LeftOut> left_out(const Service& service);

}  // namespace superd::conf
