// SPDX-License-Identifier: MIT
#include "proc/confinement.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "proc/landlock.h"

namespace superd::proc {
namespace {

std::uint64_t effective_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (syscall(SYS_capget, &header, data) != 0) return 0;
    return data[0].effective | std::uint64_t{data[1].effective} << 32;
}

bool has(int capability) {
    return (effective_capabilities() >> capability & 1) != 0;
}

/// All that the kernel knows, or those in the bounding set of this process.
std::uint64_t droppable(bool all) {
    std::uint64_t set = 0;
    for (int number = 0; number < 64; ++number) {
        const int bounded = prctl(PR_CAPBSET_READ, number, 0, 0, 0);
        if (bounded < 0) break;
        if (all || bounded > 0) set |= std::uint64_t{1} << number;
    }
    return set;
}

}  // namespace

bool is_administrator() {
    return has(CAP_SYS_ADMIN);
}

int namespaces_of(const conf::Sandbox& sandbox, bool administrator) {
    int flags = 0;
    if (sandbox.changes_mounts() || sandbox.private_ipc) flags |= CLONE_NEWNS;  // ipc: its queues are in /dev/mqueue
    if (sandbox.private_ipc) flags |= CLONE_NEWIPC;
    if (sandbox.private_network) flags |= CLONE_NEWNET;
    if (sandbox.private_pids) flags |= CLONE_NEWPID;
    return flags != 0 && !administrator ? flags | CLONE_NEWUSER : flags;
}

Confinement::Confinement(const conf::Sandbox& sandbox, const conf::Handler& handler)
    : sandbox_(sandbox), filter_(syscall_filter(sandbox, own_calls(Start::direct))) {
    const uid_t uid = handler.identity ? handler.identity->uid : geteuid();
    view_.namespaces = namespaces_of(sandbox, is_administrator());
    // In a user namespace of its own a process has all capabilities until its exec. Where superd can drop none, the
    // handler can win none either (no_new_privileges), or base is to have no effect.
    const bool as_owner = (view_.namespaces & CLONE_NEWUSER) != 0;
    if (as_owner || has(CAP_SETPCAP)) view_.drop = droppable(as_owner) & ~conf::bounding_set(sandbox, uid == 0);
    view_.ambient = sandbox.ambient_capabilities;
    view_.no_new_privileges = sandbox.no_new_privileges;
    view_.filter = filter_.empty() ? nullptr : filter_.data();
    view_.filter_length = static_cast<unsigned short>(filter_.size());
    auto ruleset = make_ruleset(sandbox, handler.root_directory);
    has_ruleset_ = !ruleset || *ruleset;
    if (ruleset && *ruleset) ruleset_ = std::move(*ruleset).lifted();
}

void Confinement::begin_by_other(Start start) {
    if (start != Start::direct) filter_ = syscall_filter(sandbox_, own_calls(start));
    view_.filter = nullptr;
}

Result<sys::Fd> Confinement::filter_file() const {
    if (filter_.empty()) return sys::Fd();
    sys::Fd fd(memfd_create("superd-filter", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return fail_errno("memfd_create", errno);
    const std::size_t size = filter_.size() * sizeof filter_[0];
    if (write(fd.get(), filter_.data(), size) != static_cast<ssize_t>(size)) return fail_errno("memfd", errno);
    if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0)
        return fail_errno("seal a memfd", errno);
    return fd;
}

}  // namespace superd::proc
