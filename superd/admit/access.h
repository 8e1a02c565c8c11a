// SPDX-License-Identifier: MIT
#pragma once
// Who may come, by address: [access] allow and deny. Pure.

#include <cstddef>
#include <optional>
#include <vector>

#include "conf/access_order.h"
#include "conf/service.h"
#include "sys/prefix.h"

namespace superd::admit {

struct Verdict {
    bool allowed = true;
    /// What decided; nullopt: no list names the address, which is then denied exactly where there is an allow list.
    std::optional<conf::AccessRule> rule;
    bool operator==(const Verdict&) const = default;
};

class AccessRules {
  public:
    AccessRules() = default;  ///< allows everyone
    explicit AccessRules(const conf::Access& access);

    /// `address` as sys::ip_bytes() gives it: IPv4-mapped as IPv4. One binary search for each prefix length in use;
    /// allocates nothing.
    Verdict decide(const sys::IpBytes& address) const;

  private:
    /// The rules of one prefix length, sorted by base.
    struct Block {
        int length = 0;
        std::size_t begin = 0, end = 0;
    };

    conf::AccessOrder order_;
    std::vector<Block> v4_, v6_;  ///< longest first
};

}  // namespace superd::admit
