// SPDX-License-Identifier: MIT
#pragma once
// [penalty]: what a source earns by what its clients do, and from when on it is refused.

#include <optional>
#include <vector>

#include "base/time.h"
#include "sys/prefix.h"

namespace superd::conf {

struct Penalty {
    static std::vector<sys::Prefix> loopback() {
        return {*sys::parse_prefix("127.0.0.0/8"), *sys::parse_prefix("::1")};
    }

    bool on = false;  ///< there is a [penalty], which may be empty
    Duration failed = std::chrono::seconds(10);
    Duration crashed = std::chrono::seconds(20);
    Duration refused = std::chrono::seconds(5);
    std::optional<Duration> touched;
    Duration threshold = std::chrono::seconds(30);
    Duration max = std::chrono::minutes(10);
    std::vector<sys::Prefix> exempt = loopback();
    bool everywhere = false;
    bool operator==(const Penalty&) const = default;
};

}  // namespace superd::conf
