// SPDX-License-Identifier: MIT
#pragma once
// Which addresses conflict with each other.

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
        const toml::Value* word = nullptr;  ///< as written, if that is known
        Overlap how = Overlap::none;        ///< how it conflicts
    };

    /// Another service that already has this address, or one that conflicts with it unless both set reuse_port.
    std::optional<Taken> in_the_way(const Taken& mine) const;
    /// Everything that it refers to outlives this.
    void add(const Taken& mine);

  private:
    /// For one port or path: addresses of different buckets never conflict.
    struct Bucket {
        std::vector<Taken> all, wildcards;
        std::unordered_map<std::string, std::vector<Taken>> hosts;
    };
    std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace superd::conf
