// SPDX-License-Identifier: MIT
#pragma once
// What a handler may do beyond its user's rights: [sandbox] as it is in force, with preset and keys worked into one
// another. Keys are named and meant as systemd.exec(5) has them.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/names.h"
#include "conf/left_out.h"

namespace superd::conf {

enum class Preset { none, base, strict };
constexpr auto names_of(Preset) {
    return std::array{"none", "base", "strict"};
}
enum class ProtectSystem { no, yes, full, strict };
constexpr auto names_of(ProtectSystem) {
    return std::array{"false", "true", "full", "strict"};
}
enum class ProtectHome { no, yes, read_only, tmpfs };
constexpr auto names_of(ProtectHome) {
    return std::array{"false", "true", "read-only", "tmpfs"};
}
enum class ProtectProc { standard, noaccess, invisible, ptraceable };
constexpr auto names_of(ProtectProc) {
    return std::array{"default", "noaccess", "invisible", "ptraceable"};
}

/// Which of the kernel's numbers (system calls of this processor, address families) are permitted. By default all.
struct NumberSet {
    bool all_but = true;      ///< what is listed is refused and the rest permitted; false: the reverse
    std::vector<int> listed;  ///< ascending, each once
    bool operator==(const NumberSet&) const = default;
    bool permits_all() const { return all_but && listed.empty(); }
    bool permits(int number) const;
};

/// A path as the handler sees it: below its root directory, if it has one.
struct SandboxPath {
    std::string path;            ///< absolute
    bool may_be_absent = false;  ///< written with a "-" first
    bool operator==(const SandboxPath&) const = default;
};

/// How paths are confined.
enum class PathMeans {
    mounts,    ///< in a mount namespace, of a user namespace where superd is not root
    landlock,  ///< superd may not mount
};

/// A state without it is served as under `base`, which is the default.
struct Sandbox {
    Preset preset = Preset::base;
    /// As resolved: also set where another key needs it, such as a filter for a handler that is not root.
    bool no_new_privileges = false;
    /// One bit for each capability of the bounding set; nullopt: what `base` leaves to the handler's user.
    /// bounding_set() gives what is in force.
    std::optional<std::uint64_t> capabilities;
    std::uint64_t ambient_capabilities = 0;
    bool private_network = false;
    bool private_tmp = false;
    bool private_devices = false;
    bool private_pids = false;
    bool private_ipc = false;
    ProtectSystem protect_system = ProtectSystem::no;
    ProtectHome protect_home = ProtectHome::no;
    bool protect_kernel = false;
    ProtectProc protect_proc = ProtectProc::standard;
    std::vector<SandboxPath> read_only_paths, read_write_paths, inaccessible_paths;
    std::string state_directory;  ///< a name below /var/lib, such as "mail" or "mail/queue"; empty: none
    NumberSet syscalls;           ///< as written: a filter also has to permit what superd calls itself in a handler
    int syscall_error = 0;        ///< errno of a refused call; 0: it kills
    bool memory_deny_write_execute = false;
    NumberSet address_families;
    std::uint64_t forbidden_namespaces = 0;  ///< CLONE_NEW* flags
    bool restrict_realtime = false;
    bool restrict_suid_sgid = false;
    bool lock_personality = false;
    PathMeans path_means = PathMeans::mounts;
    std::vector<LeftOut> left_out;
    bool operator==(const Sandbox&) const = default;

    /// Does the handler see other mounts than superd?
    bool changes_mounts() const;
    /// Is there anything for a system call filter to do?
    bool needs_filter() const;
};

/// What a preset says, on a machine that has everything.
Sandbox sandbox_of(Preset preset);

/// Every capability that a kernel may have.
constexpr std::uint64_t kAllCapabilities = ~std::uint64_t{0};

/// The bounding set of a handler; `root`: its user is 0. Also without what private_devices and protect_kernel take
/// away.
std::uint64_t bounding_set(const Sandbox& sandbox, bool root);

}  // namespace superd::conf
