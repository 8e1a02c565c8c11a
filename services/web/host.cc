// SPDX-License-Identifier: MIT
#include "web/host.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>

namespace web {
namespace {

bool is_same(std::string_view one, std::string_view other) {
    return one.size() == other.size() && strncasecmp(one.data(), other.data(), one.size()) == 0;
}

bool is_port(std::string_view text) {
    return text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_address(int family, std::string_view text) {
    unsigned char address[sizeof(in6_addr)];
    return inet_pton(family, std::string(text).c_str(), address) == 1 && text.find('\0') == std::string_view::npos;
}

}  // namespace

bool is_own_host(std::string_view host, const std::vector<std::string>& names) {
    if (host.starts_with('[')) {
        const std::size_t end = host.find(']');
        if (end == std::string_view::npos) return false;
        const std::string_view rest = host.substr(end + 1);
        return (rest.empty() || (rest.starts_with(':') && is_port(rest.substr(1)))) &&
               is_address(AF_INET6, host.substr(1, end - 1));
    }
    const std::size_t colon = host.find(':');
    if (colon != std::string_view::npos && !is_port(host.substr(colon + 1))) return false;
    std::string_view name = host.substr(0, colon);
    if (is_address(AF_INET, name)) return true;
    if (name.ends_with('.')) name.remove_suffix(1);  // a name from the root
    return is_same(name, "localhost") ||
           std::ranges::any_of(names, [&](const auto& own) { return is_same(name, own); });
}

}  // namespace web
