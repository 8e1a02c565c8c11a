// SPDX-License-Identifier: MIT
#pragma once
// The table of mounts: /proc/self/mountinfo.

#include <cstdint>
#include <string>
#include <string_view>

namespace superd::sys {

/// A path in that table has some bytes in octal: "\040".
std::string unescaped(std::string_view text);

/// Is a file or folder where nobody can write, whatever its mode: on a local file system that is mounted read-only, and
/// that no other mount shows writable? Only where these are also the mounts of process 1, as in a container: there is
/// nobody around it then who has other mounts, and could be another user. `path` has no links in it.
bool is_sealed(const std::string& path);
/// The same by the text of that table; `mount`: the id of the mount that the path is on.
bool is_sealed(std::string_view table, std::uint64_t mount, std::string_view path);

}  // namespace superd::sys
