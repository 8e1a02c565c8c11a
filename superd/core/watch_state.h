// SPDX-License-Identifier: MIT
#pragma once
// What a successor must know to go on watching files.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace superd::core {

struct WatchState {
    std::vector<std::string> files;  ///< that definitions name
    std::uint64_t print = 0;         ///< of what the last load went by; 0: it must load
    bool told_deaf = false;
};

}  // namespace superd::core
