// SPDX-License-Identifier: MIT
#pragma once
// [proxy_protocol]: before anything else, a peer says by a header for which client it speaks.

#include <array>
#include <vector>

#include "base/names.h"
#include "base/time.h"
#include "sys/prefix.h"

namespace superd::conf {

using superd::name_of;

enum class ProxyVersions { v1, v2, any };
constexpr auto names_of(ProxyVersions) {
    return std::array{"v1", "v2", "any"};
}

struct ProxyProtocol {
    bool on = false;  ///< there is a [proxy_protocol], which may be empty
    ProxyVersions accept = ProxyVersions::any;
    std::vector<sys::Prefix> from;  ///< peers that may send a header; of a unix socket, mode and owner decide
    Duration timeout = std::chrono::seconds(3);
    bool operator==(const ProxyProtocol&) const = default;
};

}  // namespace superd::conf
