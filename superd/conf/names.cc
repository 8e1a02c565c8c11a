// SPDX-License-Identifier: MIT
#include "conf/names.h"

#include <fnmatch.h>

#include <algorithm>
#include <initializer_list>

namespace superd::conf {

bool is_definition(const std::string& file) {
    return file.ends_with(".toml") &&
           std::ranges::none_of(std::initializer_list<const char*>{".*", "*.dpkg-*", "*.rpm*"},
                                [&](const char* pattern) { return fnmatch(pattern, file.c_str(), 0) == 0; });
}

bool is_service_name(std::string_view name) {
    const auto is_plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return !name.empty() && is_plain(name[0]) && std::ranges::all_of(name, [&](char c) {
        return is_plain(c) || std::string_view("._@-").find(c) != std::string_view::npos;
    });
}

}  // namespace superd::conf
