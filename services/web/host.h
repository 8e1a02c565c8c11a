// SPDX-License-Identifier: MIT
#pragma once
// Whether a request is for this server by its own name. A page elsewhere can have its own name point here (DNS
// rebinding), and would then read what only this machine's users may: such a request names the other page's host.

#include <string>
#include <string_view>
#include <vector>

namespace web {

/// `host`: the field's value, "127.0.0.1:7091", "[::1]" or "status.example.org:80". True for an address, `localhost`,
/// and for one of `names`, whatever the port.
bool is_own_host(std::string_view host, const std::vector<std::string>& names);

}  // namespace web
