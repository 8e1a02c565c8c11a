// SPDX-License-Identifier: MIT
#pragma once
// One table of names for each enum that people read. It stands beside the enum, in the order of its values from 0:
//     enum class Model { fork, prefork };
//     constexpr auto names_of(Model) { return std::array{"fork", "prefork"}; }

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace superd {

template <class E>
concept Named = requires(E value) {
    names_of(value).size();
};

template <Named E>
constexpr const char* name_of(E value) {
    return names_of(value).at(static_cast<std::size_t>(value));
}

/// nullopt: no value has that name.
template <Named E>
constexpr std::optional<E> find_named(std::string_view name) {
    const auto names = names_of(E{});
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) return static_cast<E>(i);
    }
    return std::nullopt;
}

}  // namespace superd
