// SPDX-License-Identifier: MIT
#include "sys/capabilities.h"

#include <sys/capability.h>

#include <algorithm>

namespace superd::sys {
namespace {

constexpr std::string_view kPrefix = "cap_";
constexpr int kMost = 64;  // the kernel keeps them in as many bits

std::string libcap_name(int number) {
    char* name = cap_to_name(static_cast<cap_value_t>(number));
    std::string found = name != nullptr ? name : "";
    cap_free(name);
    return found;
}

std::string upper(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
    return text;
}

}  // namespace

std::optional<int> capability(std::string_view name) {
    const auto names = capability_names();
    const auto found = std::ranges::find(names, name);
    return found != names.end() ? std::optional(static_cast<int>(found - names.begin())) : std::nullopt;
}

std::string capability_name(int number) {
    const std::string name = libcap_name(number);
    return name.starts_with(kPrefix) ? upper(name.substr(kPrefix.size())) : std::to_string(number);
}

std::vector<std::string> capability_names() {
    std::vector<std::string> names;
    for (int i = 0; i < kMost; ++i) {
        const std::string name = libcap_name(i);
        if (!name.starts_with(kPrefix)) break;
        names.push_back(upper(name.substr(kPrefix.size())));
    }
    return names;
}

int capabilities_here() {
    return cap_max_bits();
}

}  // namespace superd::sys
