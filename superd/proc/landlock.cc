// SPDX-License-Identifier: MIT
#include "proc/landlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>

namespace superd::proc {
namespace {

using conf::ProtectHome;
using conf::ProtectSystem;

// linux/landlock.h of Debian 12 ends with the first of these; the kernel tells which it knows.
constexpr long kCreateRuleset = 444, kAddRule = 445;
struct RulesetAttributes {
    std::uint64_t handled;
};
struct [[gnu::packed]] PathRule {
    std::uint64_t allowed;
    std::int32_t parent;
};
constexpr std::uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadFolder = 1 << 3;
constexpr std::uint64_t kFirst = (1 << 13) - 1;                 ///< ABI 1
constexpr std::uint64_t kRefer = 1 << 13, kTruncate = 1 << 14;  ///< ABI 2, 3
constexpr std::uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate;

enum class Access { none, read, write };

struct Node {
    std::map<std::string, Node> below;
    std::optional<Access> access;
};

Access least(const Node& node, Access inherited) {
    Access all = node.access.value_or(inherited);
    for (const auto& [name, inner] : node.below) all = std::min(all, least(inner, node.access.value_or(inherited)));
    return all;
}

class Ruleset {
  public:
    explicit Ruleset(int fd, std::uint64_t handled) : fd_(fd), handled_(handled) {}

    /// `granted`: what a folder above grants already.
    Result<void> permit(const std::string& path, const Node& node, Access inherited, Access granted) {
        const Access wanted = node.access.value_or(inherited);
        if (const Access all = least(node, inherited); all > granted) {
            if (auto added = add(path, all); !added) return added;
            granted = all;
        }
        if (node.below.empty()) return {};
        std::map<std::string, const Node*> inner;
        static const Node plain;
        if (wanted > granted)
            for (const std::string& name : names_in(path)) inner[name] = &plain;
        for (const auto& [name, below] : node.below) inner[name] = &below;
        for (const auto& [name, below] : inner)
            if (auto done = permit(path == "/" ? "/" + name : path + "/" + name, *below, wanted, granted); !done)
                return done;
        return {};
    }

  private:
    static std::vector<std::string> names_in(const std::string& path) {
        std::vector<std::string> names;
        DIR* const folder = opendir(path.c_str());
        if (folder == nullptr) return names;  // who may not read it cannot permit more
        while (const dirent* entry = readdir(folder))
            if (const std::string name = entry->d_name; name != "." && name != "..") names.push_back(name);
        closedir(folder);
        return names;
    }

    Result<void> add(const std::string& path, Access access) {
        const sys::Fd fd(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        struct stat about {};
        if (!fd || fstat(fd.get(), &about) != 0) return {};  // it is not there
        if (S_ISLNK(about.st_mode)) return {};               // where it leads counts
        PathRule rule{handled_, fd.get()};
        if (access == Access::read) rule.allowed &= kExecute | kReadFile | kReadFolder;
        if (!S_ISDIR(about.st_mode)) rule.allowed &= kOfFiles;
        if (syscall(kAddRule, fd_, 1 /* LANDLOCK_RULE_PATH_BENEATH */, &rule, 0) != 0)
            return fail_errno(fmt::format("Landlock: {}", path), errno);
        return {};
    }

    int fd_;
    std::uint64_t handled_;
};

void put(Node& root, const std::string& path, Access access) {
    Node* at = &root;
    for (std::size_t from = 0; (from = path.find_first_not_of('/', from)) != std::string::npos;) {
        const std::size_t to = std::min(path.find('/', from), path.size());
        at = &at->below[path.substr(from, to - from)];
        from = to;
    }
    if (!at->access) at->access = access;
}

/// Where a path below the root leads to, as a rule must name it; the path itself where it leads nowhere.
std::string resolve(const std::string& root, const std::string& path) {
    const sys::Fd from(open(root.empty() ? "/" : root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const sys::Fd fd(static_cast<int>(syscall(SYS_openat2, from.get(), path.c_str(), &how, sizeof how)));
    std::string target(4096, '\0');
    const ssize_t n =
        fd ? readlink(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), target.data(), target.size()) : -1;
    if (n <= 0 || static_cast<std::size_t>(n) == target.size() || target[0] != '/') return root + path;
    target.resize(static_cast<std::size_t>(n));
    return target;
}

Node tree_of(const conf::Sandbox& sandbox, const std::string& root) {
    Node tree;
    const auto add = [&](const std::string& path, Access access) { put(tree, resolve(root, path), access); };
    for (const auto& path : sandbox.inaccessible_paths) add(path.path, Access::none);
    for (const auto& path : sandbox.read_only_paths) add(path.path, Access::read);
    for (const auto& path : sandbox.read_write_paths) add(path.path, Access::write);
    if (!sandbox.state_directory.empty()) add("/var/lib/" + sandbox.state_directory, Access::write);
    if (sandbox.protect_home != ProtectHome::no)
        for (const char* path : {"/home", "/root", "/run/user"})
            add(path, sandbox.protect_home == ProtectHome::read_only ? Access::read : Access::none);
    if (sandbox.protect_system == ProtectSystem::strict) {
        for (const char* path : {"/dev", "/proc", "/sys"}) add(path, Access::write);
        add("/", Access::read);
    } else if (sandbox.protect_system != ProtectSystem::no) {
        if (sandbox.protect_system == ProtectSystem::full) add("/etc", Access::read);
        for (const char* path : {"/boot", "/efi", "/usr", "/bin", "/lib", "/lib64", "/sbin"}) add(path, Access::read);
    }
    return tree;
}

}  // namespace

Result<sys::Fd> make_ruleset(const conf::Sandbox& sandbox, const std::string& root) {
    if (sandbox.path_means != conf::PathMeans::landlock) return sys::Fd();
    const Node tree = tree_of(sandbox, root);
    if (tree.below.empty() && !tree.access) return sys::Fd();
    const long abi = syscall(kCreateRuleset, nullptr, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
    if (abi < 1) return fail_errno("Landlock", errno);
    const RulesetAttributes attributes{kFirst | (abi >= 2 ? kRefer : 0) | (abi >= 3 ? kTruncate : 0)};
    sys::Fd fd(static_cast<int>(syscall(kCreateRuleset, &attributes, sizeof attributes, 0)));
    if (!fd) return fail_errno("Landlock", errno);
    if (auto done = Ruleset(fd.get(), attributes.handled).permit("/", tree, Access::write, Access::none); !done)
        return std::unexpected(done.error());
    return fd;
}

}  // namespace superd::proc
