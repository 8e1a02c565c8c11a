// SPDX-License-Identifier: MIT
#include "conf/sandbox.h"

#include <linux/capability.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "conf/sandbox_words.h"

namespace superd::conf {
namespace {

template <class... Numbers>
constexpr std::uint64_t bit_mask(Numbers... numbers) {
    return ((std::uint64_t{1} << numbers) | ...);
}

// What no inetd handler needs that is not root's: it would have to win these by a set-id program.
constexpr std::uint64_t kBaseDrops = bit_mask(CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_SYS_BOOT, CAP_SYS_PTRACE,
                                              CAP_MAC_ADMIN, CAP_MAC_OVERRIDE, CAP_BPF, CAP_PERFMON);
// As systemd's PrivateDevices; ProtectKernelModules, ProtectKernelLogs, ProtectClock.
constexpr std::uint64_t kDeviceDrops = bit_mask(CAP_MKNOD, CAP_SYS_RAWIO);
constexpr std::uint64_t kKernelDrops = bit_mask(CAP_SYS_MODULE, CAP_SYSLOG, CAP_SYS_TIME, CAP_WAKE_ALARM);

}  // namespace

bool NumberSet::permits(int number) const {
    return std::ranges::binary_search(listed, number) != all_but;
}

bool Sandbox::changes_mounts() const {
    return path_means == PathMeans::mounts &&
           (private_tmp || private_devices || private_pids || protect_system != ProtectSystem::no ||
            protect_home != ProtectHome::no || protect_kernel || protect_proc != ProtectProc::standard ||
            !read_only_paths.empty() || !read_write_paths.empty() || !inaccessible_paths.empty());
}

bool Sandbox::needs_filter() const {
    return !syscalls.permits_all() || memory_deny_write_execute || !address_families.permits_all() ||
           forbidden_namespaces != 0 || restrict_realtime || restrict_suid_sgid || lock_personality || protect_kernel ||
           private_devices;
}

Sandbox sandbox_of(Preset preset) {
    Sandbox all;
    all.preset = preset;
    if (preset == Preset::none) all.capabilities = kAllCapabilities;
    if (preset != Preset::strict) return all;
    all.no_new_privileges = true;
    all.capabilities = 0;
    all.private_network = all.private_tmp = all.private_devices = all.private_pids = all.private_ipc = true;
    all.protect_system = ProtectSystem::strict;
    all.protect_home = ProtectHome::yes;
    all.protect_kernel = true;
    all.protect_proc = ProtectProc::invisible;
    std::vector<BadWord> none;
    all.syscalls = read_syscalls({"@system-service"}, none);
    all.syscall_error = EPERM;
    all.memory_deny_write_execute = true;
    all.address_families = {false, {AF_UNIX}};
    all.forbidden_namespaces = all_namespaces();
    all.restrict_realtime = all.restrict_suid_sgid = all.lock_personality = true;
    return all;
}

std::uint64_t bounding_set(const Sandbox& sandbox, bool root) {
    std::uint64_t kept = sandbox.capabilities.value_or(root ? kAllCapabilities : kAllCapabilities & ~kBaseDrops);
    if (sandbox.private_devices) kept &= ~kDeviceDrops;
    if (sandbox.protect_kernel) kept &= ~kKernelDrops;
    return kept;
}

}  // namespace superd::conf
