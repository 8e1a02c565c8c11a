// SPDX-License-Identifier: MIT
#include "conf/trust.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <deque>
#include <filesystem>

#include "base/text.h"
#include "sys/identity.h"
#include "sys/mount_info.h"

namespace superd::conf {

namespace {

constexpr int kMostLinks = 40;  // path_resolution(7)

std::string name_of(uid_t uid, sys::Names& names) {
    const auto user = names.find_user(std::to_string(uid));
    return user && *user && !(*user)->name.empty() ? fmt::format("user \"{}\"", (*user)->name)
                                                   : fmt::format("user {}", uid);
}

void put_in_front(std::deque<std::string>& names, std::string_view path) {
    const auto parts = split(path, '/');
    names.insert(names.begin(), parts.begin(), parts.end());
}

}  // namespace

std::optional<std::string> Trust::follow(const std::string& path) {
    if (from_.trust_files) return path;
    std::deque<std::string> names;
    put_in_front(names, path);
    const auto lost = [&](std::string_view why) {
        errors_.push_back({Place{path, 0, 0, 1, {}}, fmt::format("cannot be read: {}", why)});
        return std::nullopt;
    };
    if (!path.starts_with('/')) {
        std::error_code error;
        put_in_front(names, std::filesystem::current_path(error).string());
        if (error) return lost(error.message());
    }
    std::string at, next;  // "" is the root
    const Passed* folder = nullptr;
    for (int links = 0;;) {
        const auto found = pass(next.empty() ? "/" : next, path);
        if (!found) return lost(found.error().text);
        if (S_ISLNK((*found)->mode)) {
            if (!folder->sound) return std::nullopt;  // "/" is not a link, so there is a folder
            if (++links > kMostLinks) return lost(errno_text(ELOOP));
            const std::string& target = (*found)->target;
            put_in_front(names, target);
            next = target.starts_with('/') ? "" : at;
            continue;
        }
        at = next;
        folder = *found;
        std::string name;
        while (name.empty() || name == ".") {
            if (names.empty()) return at.empty() ? "/" : at;
            name = std::move(names.front());
            names.pop_front();
        }
        next = name == ".." ? at.substr(0, at.empty() ? 0 : at.rfind('/')) : at + "/" + name;
    }
}

Result<const Trust::Passed*> Trust::pass(const std::string& path, const std::string& goal) {
    if (const auto known = passed_.find(path); known != passed_.end()) return &known->second;
    const auto status = sys::status_of_link(path);
    if (!status) return std::unexpected(status.error());
    Passed passed{status->mode, true, {}};
    if (S_ISLNK(status->mode)) {
        auto target = sys::target_of_link(path);
        if (!target) return std::unexpected(target.error());
        passed.target = std::move(*target);
    }
    if (S_ISLNK(status->mode) || S_ISDIR(status->mode)) passed.sound = judge(path, *status, goal);
    return &passed_.emplace(path, std::move(passed)).first->second;
}

bool Trust::judge(const std::string& path, const sys::FileStatus& status, const std::string& goal) {
    if (from_.trust_files) return true;
    const std::size_t before = errors_.size();
    const bool is_root = from_.uid == 0;
    const char* whom = is_root ? "superd is root" : "superd trusts only root and its own user";
    const std::string way = path == goal ? "" : fmt::format("on the way to {}: ", goal);
    const auto complain = [&](std::string message) {
        errors_.push_back({Place{path, 0, 0, 1, {}}, way + std::move(message)});
    };
    if (status.uid != 0 && status.uid != from_.uid) {
        complain(fmt::format("{} {}, but {}: chown {}", S_ISLNK(status.mode) ? "is a link owned by" : "belongs to",
                             name_of(status.uid, from_.names), whom, is_root ? "root" : "root, or superd's own user"));
    }
    // A link's mode means nothing. An access control list that lets others write shows in the group's bits. acl(5)
    // Folders of Kubernetes' config maps let everybody write by their mode, but are mounted read-only.
    if (!S_ISLNK(status.mode) && (status.mode & (S_IWGRP | S_IWOTH)) != 0 && !sys::is_sealed(path)) {
        const bool sticky = S_ISDIR(status.mode) && (status.mode & S_ISVTX) != 0;
        complain(fmt::format(
            "may be written by users other than its owner (mode {:04o}), but {}: {}", status.mode & 07777U, whom,
            sticky ? "keep definitions elsewhere, since its sticky bit does not keep others from adding files"
                   : "chmod go-w"));
    }
    return errors_.size() == before;
}

}  // namespace superd::conf
