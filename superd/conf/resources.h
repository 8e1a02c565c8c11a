// SPDX-License-Identifier: MIT
#pragma once
// [resources]: what all handlers of a service may use together, and what becomes of what they leave behind.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/names.h"
#include "conf/left_out.h"

namespace superd::conf {

using superd::name_of;

/// What becomes of a handler's descendants when it has ended.
enum class Leftovers { keep, end };
constexpr auto names_of(Leftovers) {
    return std::array{"keep", "end"};
}

struct Resources {
    std::optional<std::uint64_t> memory_max, memory_high, memory_swap_max;  ///< bytes
    std::optional<std::uint64_t> pids_max;
    std::optional<int> cpu_max;  ///< per cent of one processor
    std::optional<int> cpu_weight, io_weight;
    Leftovers leftovers = Leftovers::keep;
    std::vector<LeftOut> left_out;
    bool operator==(const Resources&) const = default;
};

}  // namespace superd::conf
