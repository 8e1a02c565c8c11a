// SPDX-License-Identifier: MIT
#include "conf/sandbox_machine.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <utility>

namespace superd::conf {
namespace {

/// What of a machine a key needs.
struct Needs {
    bool filter = false, privileges = false, paths = false, mounts = false, network = false, ipc = false, pids = false;
};

struct Need {
    const char* key;
    bool (*is_set)(const Sandbox&);
    void (*clear)(Sandbox&);
    Needs of;
};

#define MEMBER(member)                                                 \
    [](const Sandbox& box) { return box.member != Sandbox().member; }, \
        [](Sandbox& box) { box.member = Sandbox().member; }

const std::array<Need, 20> kNeeds{{
    {"capabilities",
     [](const Sandbox& box) { return box.capabilities.value_or(kAllCapabilities) != kAllCapabilities; },
     [](Sandbox& box) { box.capabilities.reset(); },
     {.privileges = true}},
    {"ambient_capabilities", MEMBER(ambient_capabilities), {.privileges = true}},
    {"private_network", MEMBER(private_network), {.network = true}},
    {"private_tmp", MEMBER(private_tmp), {.mounts = true}},
    {"private_devices", MEMBER(private_devices), {.filter = true, .mounts = true}},
    {"private_pids", MEMBER(private_pids), {.mounts = true, .pids = true}},
    {"private_ipc", MEMBER(private_ipc), {.mounts = true, .ipc = true}},  // its queues are in /dev/mqueue
    {"protect_system", MEMBER(protect_system), {.paths = true}},
    {"protect_home", MEMBER(protect_home), {.paths = true}},
    {"protect_kernel", MEMBER(protect_kernel), {.filter = true, .mounts = true}},
    {"protect_proc", MEMBER(protect_proc), {.mounts = true, .pids = true}},
    {"read_only_paths", MEMBER(read_only_paths), {.paths = true}},
    {"inaccessible_paths", MEMBER(inaccessible_paths), {.paths = true}},
    {"syscalls", MEMBER(syscalls), {.filter = true}},
    {"memory_deny_write_execute", MEMBER(memory_deny_write_execute), {.filter = true}},
    {"restrict_address_families", MEMBER(address_families), {.filter = true}},
    {"restrict_namespaces", MEMBER(forbidden_namespaces), {.filter = true}},
    {"restrict_realtime", MEMBER(restrict_realtime), {.filter = true}},
    {"restrict_suid_sgid", MEMBER(restrict_suid_sgid), {.filter = true}},
    {"lock_personality", MEMBER(lock_personality), {.filter = true}},
}};

#undef MEMBER

/// "": nothing.
std::string lacks(const Needs& needs, const sys::Confinement& here, bool landlock) {
    const std::string who = here.privileged ? "" : "superd has no CAP_SYS_ADMIN and can make no user namespace, so ";
    if (needs.filter && !here.filter) return "this kernel has no system call filters";
    if (needs.privileges && !here.privileged) return "superd has no CAP_SETPCAP, and the handler may gain privileges";
    if (needs.mounts && !here.mounts) return who + "it may not mount";
    if (needs.paths && !here.mounts && !landlock) return who + "it may not mount, and this kernel has no Landlock";
    if (needs.network && !here.network) return who + "it can make no network namespace";
    if (needs.ipc && !here.ipc) return who + "it can make no IPC namespace";
    if (needs.pids && !here.pids) return who + "it can make no process namespace with a /proc of its own";
    return "";
}

std::string lacks(const Need& need, const Sandbox& box, const sys::Confinement& here) {
    const std::string_view key = need.key;
    const bool landlock = here.landlock > 0;
    if (key == "protect_home" && box.protect_home == ProtectHome::tmpfs && !here.mounts)
        return "superd may not mount here";
    // In a user namespace only the /proc of a process namespace can be mounted that belongs to it.
    if (key == "protect_proc" && here.user_namespace && !box.private_pids)
        return "superd is not root: sandbox.private_pids = true makes it possible";
    if (key == "ambient_capabilities" && !here.privileged) return "superd is not root and has none to give";
    return lacks(need.of, here, landlock);
}

}  // namespace

bool asks_of_machine(const Sandbox& sandbox) {
    for (const Need& need : kNeeds)
        if (need.is_set(sandbox)) return true;
    return !sandbox.state_directory.empty();
}

std::vector<Missing> fit(Sandbox& sandbox, const sys::Confinement& here, bool root) {
    std::vector<Missing> missing;
    // Whoever is not root gets no_new_privileges with a filter.
    const bool gains_nothing =
        sandbox.no_new_privileges || (here.filter && sandbox.needs_filter() && !(root && here.privileged));
    for (const Need& need : kNeeds) {
        if (!need.is_set(sandbox)) continue;
        // A handler that has no privileges and gains none needs no bounding set.
        if (std::string_view(need.key) == "capabilities" && gains_nothing) continue;
        std::string why = lacks(need, sandbox, here);
        if (why.empty()) continue;
        // Without mounts, what the filter and the bounding set do of it holds all the same.
        if (need.of.filter && need.of.mounts && here.filter) {
            sandbox.path_means = PathMeans::landlock;
            why += "; the system calls and capabilities that it takes away are taken away";
        } else {
            need.clear(sandbox);
        }
        missing.push_back({need.key, std::move(why)});
    }
    if (sandbox.syscalls.permits_all()) sandbox.syscall_error = 0;
    if (!here.mounts && here.landlock > 0) sandbox.path_means = PathMeans::landlock;
    return missing;
}

bool uses_landlock(const Sandbox& sandbox) {
    return sandbox.path_means == PathMeans::landlock &&
           (sandbox.protect_system != ProtectSystem::no || sandbox.protect_home != ProtectHome::no ||
            !sandbox.read_only_paths.empty() || !sandbox.inaccessible_paths.empty());
}

std::string first_with_filter(const Sandbox& sandbox) {
    for (const Need& need : kNeeds)
        if (need.is_set(sandbox) && (need.of.filter || (need.of.paths && uses_landlock(sandbox)))) return need.key;
    return "";
}

bool may_exec(const NumberSet& syscalls) {
    return syscalls.permits(SYS_execve);
}

}  // namespace superd::conf
