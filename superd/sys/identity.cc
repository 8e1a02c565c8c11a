// SPDX-License-Identifier: MIT
#include "sys/identity.h"

#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>

#include "base/text.h"

namespace superd::sys {

namespace {

// The last number means "no change" to setresuid(2) and is never anyone.
template <class Id>
std::optional<Id> parse_id(const std::string& text) {
    Id id = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (status != std::errc{} || end != text.data() + text.size() || id == std::numeric_limits<Id>::max()) {
        return std::nullopt;
    }
    return id;
}

// The _r functions say ERANGE until the buffer is large enough: a group may have very many members.
// nullopt: no such entry.
template <class Entry, class LookUp>
Result<bool> look_up(const std::string& what, Entry& entry, std::vector<char>& buffer, LookUp call) {
    for (buffer.resize(1024); buffer.size() <= (std::size_t{64} << 20); buffer.resize(buffer.size() * 4)) {
        Entry* found = nullptr;
        const int error = call(&entry, buffer.data(), buffer.size(), &found);
        if (found != nullptr) return true;
        // getpwnam(3) lists what name services return for "no such entry".
        if (error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM) return false;
        if (error != ERANGE && error != EINTR) return fail_errno(what, error);
    }
    return fail_errno(what, ERANGE);
}

}  // namespace

Result<std::optional<User>> find_user(const std::string& name) {
    passwd entry{};
    std::vector<char> buffer;
    Result<bool> found = false;
    if (all_digits(name)) {
        const std::optional<uid_t> uid = parse_id<uid_t>(name);
        if (!uid) return std::nullopt;
        found = look_up("look up user " + name, entry, buffer, [&](auto... rest) { return getpwuid_r(*uid, rest...); });
    } else {
        found = look_up("look up user " + name, entry, buffer,
                        [&](auto... rest) { return getpwnam_r(name.c_str(), rest...); });
    }
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    return User{entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir, entry.pw_shell};
}

Result<std::optional<gid_t>> find_group(const std::string& name) {
    if (all_digits(name)) return parse_id<gid_t>(name);
    group entry{};
    std::vector<char> buffer;
    const Result<bool> found = look_up("look up group " + name, entry, buffer,
                                       [&](auto... rest) { return getgrnam_r(name.c_str(), rest...); });
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    return entry.gr_gid;
}

std::vector<gid_t> groups_of(const User& user) {
    int count = 32;
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    while (getgrouplist(user.name.c_str(), user.gid, groups.data(), &count) < 0) {
        // Some name services leave the count as it was.
        groups.resize(std::max(groups.size() * 2, static_cast<std::size_t>(count)));
        count = static_cast<int>(groups.size());
    }
    groups.resize(static_cast<std::size_t>(count));
    std::ranges::sort(groups);
    groups.erase(std::ranges::unique(groups).begin(), groups.end());
    return groups;
}

std::vector<gid_t> own_groups() {
    std::vector<gid_t> groups(static_cast<std::size_t>(std::max(0, getgroups(0, nullptr))));
    const int count = getgroups(static_cast<int>(groups.size()), groups.data());
    groups.resize(static_cast<std::size_t>(std::max(0, count)));
    return groups;
}

Result<std::optional<std::uint16_t>> find_port(const std::string& name, const char* protocol) {
    servent entry{};
    std::vector<char> buffer;
    const Result<bool> found = look_up("look up port " + name, entry, buffer,
                                       [&](auto... rest) { return getservbyname_r(name.c_str(), protocol, rest...); });
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    return ntohs(static_cast<std::uint16_t>(entry.s_port));
}

}  // namespace superd::sys
