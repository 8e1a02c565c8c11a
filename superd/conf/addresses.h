// SPDX-License-Identifier: MIT
#pragma once
// Whose addresses are in each other's way.

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "conf/listen.h"
#include "conf/service.h"
#include "conf/toml.h"

namespace superd::conf {

class Addresses {
  public:
    struct Taken {
        const Service* by = nullptr;
        const Listen* listen = nullptr;
        const toml::Value* word = nullptr;  ///< as it is written, where that is known
        Overlap how = Overlap::none;        ///< in which it is in the way
    };

    /// Another service that has this already, or what cannot be beside it without reuse_port.
    std::optional<Taken> in_the_way(const Taken& mine) const;
    /// All that it refers to outlives this.
    void add(const Taken& mine);

  private:
    /// Of one port or path: no others can meet.
    struct Bucket {
        std::vector<Taken> all, wildcards;
        std::unordered_map<std::string, std::vector<Taken>> hosts;
    };
    std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace superd::conf
