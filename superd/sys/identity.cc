// SPDX-License-Identifier: MIT
#include "sys/identity.h"

#include <fmt/format.h>
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

// The last number means "no change" to setresuid(2) and never belongs to anyone.
template <class Id>
std::optional<Id> parse_id(const std::string& text) {
    Id id = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (status != std::errc{} || end != text.data() + text.size() || id == std::numeric_limits<Id>::max()) {
        return std::nullopt;
    }
    return id;
}

// The _r functions return ERANGE until the buffer is large enough: a group may have very many members. nullopt: no such
// entry.
template <class Entry, class LookUp>
Result<bool> look_up(const std::string& what, Entry& entry, std::vector<char>& buffer, LookUp call) {
    for (buffer.resize(1024); buffer.size() <= (std::size_t{64} << 20); buffer.resize(buffer.size() * 4)) {
        Entry* found = nullptr;
        const int error = call(&entry, buffer.data(), buffer.size(), &found);
        if (found != nullptr) return true;
        // getpwnam(3) lists what name services return for a missing entry.
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
        // Some name services leave the count unchanged.
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

void Names::ask() {
    known_.clear();
    asks_ = true;
}

/// Failures are not remembered: they may pass.
template <class LookUp>
Result<const Names::Answer*> Names::answer(std::string question, LookUp look_up) {
    if (const auto at = known_.find(question); at != known_.end()) return &at->second;
    if (!asks_)
        return fail(fmt::format(
            "{} has not been looked up yet: a reload looks it up, and so does a plan that root asks for", question));
    Answer found;
    found.question = question;
    if (auto done = look_up(found); !done) return std::unexpected(done.error());
    return &known_.emplace(std::move(question), std::move(found)).first->second;
}

Result<std::optional<User>> Names::find_user(const std::string& name) {
    const auto known = answer(fmt::format("user {}", name), [&](Answer& out) -> Result<void> {
        const auto found = sys::find_user(name);
        if (!found) return std::unexpected(found.error());
        out.found = found->has_value();
        out.user = found->value_or(User{});
        return {};
    });
    if (!known) return std::unexpected(known.error());
    return (*known)->found ? std::optional((*known)->user) : std::nullopt;
}

Result<std::optional<gid_t>> Names::find_group(const std::string& name) {
    if (all_digits(name)) return sys::find_group(name);
    const auto known = answer(fmt::format("group {}", name), [&](Answer& out) -> Result<void> {
        const auto found = sys::find_group(name);
        if (!found) return std::unexpected(found.error());
        out.found = found->has_value();
        out.number = found->value_or(0);
        return {};
    });
    if (!known) return std::unexpected(known.error());
    return (*known)->found ? std::optional<gid_t>((*known)->number) : std::nullopt;
}

Result<std::vector<gid_t>> Names::groups_of(const User& user) {
    const auto known =
        answer(fmt::format("groups of user {} in group {}", user.name, user.gid), [&](Answer& out) -> Result<void> {
            out.groups = sys::groups_of(user);
            return {};
        });
    if (!known) return std::unexpected(known.error());
    return (*known)->groups;
}

Result<std::optional<std::uint16_t>> Names::find_port(const std::string& name, const char* protocol) {
    const auto known = answer(fmt::format("port {} of {}", name, protocol), [&](Answer& out) -> Result<void> {
        const auto found = sys::find_port(name, protocol);
        if (!found) return std::unexpected(found.error());
        out.found = found->has_value();
        out.number = found->value_or(0);
        return {};
    });
    if (!known) return std::unexpected(known.error());
    return (*known)->found ? std::optional(static_cast<std::uint16_t>((*known)->number)) : std::nullopt;
}

/// Each kind of question is put as its function puts it.
void Names::repeat(std::string_view question) {
    const auto begins = [&](std::string_view with) {
        const bool does = question.starts_with(with);
        if (does) question.remove_prefix(with.size());
        return does;
    };
    const auto parts = [&](std::string_view between) {
        const auto at = question.rfind(between);
        if (at == std::string_view::npos) return std::pair(std::string(question), std::string());
        return std::pair(std::string(question.substr(0, at)), std::string(question.substr(at + between.size())));
    };
    if (begins("groups of user ")) {
        const auto [name, group] = parts(" in group ");
        (void)groups_of({0, parse_id<gid_t>(group).value_or(0), name, "", ""});
    } else if (begins("user ")) {
        (void)find_user(std::string(question));
    } else if (begins("group ")) {
        (void)find_group(std::string(question));
    } else if (begins("port ")) {
        const auto [name, protocol] = parts(" of ");
        (void)find_port(name, protocol.c_str());
    }
}

bool Names::as_before(const std::vector<Answer>& answers) {
    bool same = true;
    for (const Answer& before : answers) {
        repeat(before.question);
        const auto known = known_.find(before.question);
        same = same && known != known_.end() && known->second == before;
    }
    return same;
}

std::vector<Names::Answer> Names::answers() const {
    std::vector<Answer> all;
    for (const auto& [question, known] : known_) all.push_back(known);
    return all;
}

void Names::go_on(std::vector<Answer> answers) {
    for (Answer& known : answers) known_.insert_or_assign(known.question, known);
}

}  // namespace superd::sys
