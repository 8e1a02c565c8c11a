// SPDX-License-Identifier: MIT
#include "proc/hold_plan.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "proc/confinement.h"

namespace superd::proc {
namespace {

using conf::ProtectHome;
using conf::ProtectProc;
using conf::ProtectSystem;
using conf::Sandbox;

// As systemd 252's ProtectKernelTunables, ProtectKernelModules, ProtectKernelLogs and ProtectControlGroups.
constexpr const char* kKernelReadOnly[] = {"/proc/acpi", "/proc/apm", "/proc/asound",        "/proc/bus",
                                           "/proc/fs",   "/proc/irq", "/proc/latency_stats", "/proc/mtrr",
                                           "/proc/scsi", "/proc/sys", "/proc/sysrq-trigger", "/proc/timer_stats",
                                           "/sys"};
constexpr const char* kKernelHidden[] = {"/proc/kallsyms", "/proc/kcore",  "/proc/kmsg",
                                         "/dev/kmsg",      "/lib/modules", "/usr/lib/modules"};

class Words {
  public:
    void add(const char* kind, const conf::SandboxPath& path) {
        all.push_back(fmt::format("{}{}={}", kind, path.may_be_absent ? "?" : "", path.path));
    }
    /// Of superd's own: it need not be there.
    void add(const char* kind, const char* path) { all.push_back(fmt::format("{}?={}", kind, path)); }

    std::vector<std::string> all;
};

void add_written(const Sandbox& sandbox, Words& words) {
    for (const auto& path : sandbox.inaccessible_paths) words.add("inaccessible", path);
    for (const auto& path : sandbox.read_only_paths) words.add("read-only", path);
    for (const auto& path : sandbox.read_write_paths) words.add("read-write", path);
    if (!sandbox.state_directory.empty()) words.add("read-write", {"/var/lib/" + sandbox.state_directory, false});
}

void add_own_file_systems(const Sandbox& sandbox, Words& words) {
    if (sandbox.private_tmp) {
        words.add("scratch", "/tmp");
        words.add("scratch", "/var/tmp");
    }
    if (sandbox.private_devices) words.add("devices", "/dev");
    if (sandbox.private_ipc) words.add("queues", "/dev/mqueue");
    if (sandbox.private_pids || sandbox.protect_proc != ProtectProc::standard) {
        const bool standard = sandbox.protect_proc == ProtectProc::standard;
        words.add("processes", standard ? "" : conf::name_of(sandbox.protect_proc));
    }
}

void add_protected(const Sandbox& sandbox, Words& words) {
    if (sandbox.protect_kernel) {
        for (const char* path : kKernelReadOnly) words.add("read-only", path);
        for (const char* path : kKernelHidden) words.add("inaccessible", path);
    }
    static constexpr const char* kHome[] = {"", "inaccessible", "read-only", "empty"};
    if (sandbox.protect_home != ProtectHome::no)
        for (const char* path : {"/home", "/root", "/run/user"})
            words.add(kHome[static_cast<int>(sandbox.protect_home)], path);
    switch (sandbox.protect_system) {
        case ProtectSystem::no:
            break;
        case ProtectSystem::full:
            words.add("read-only", "/etc");
            [[fallthrough]];
        case ProtectSystem::yes:
            for (const char* path : {"/boot", "/efi", "/usr", "/bin", "/lib", "/lib64", "/sbin"})
                words.add("read-only", path);
            break;
        case ProtectSystem::strict:
            for (const char* path : {"/dev", "/proc", "/sys"}) words.add("as-it-is", path);
            words.add("read-only", "/");
            break;
    }
}

}  // namespace

bool needs_holder(const conf::Service& definition) {
    return namespaces_of(definition.sandbox, true) != 0 || !definition.sandbox->state_directory.empty();
}

std::vector<std::string> hold_words(const conf::Service& definition, bool administrator) {
    const Sandbox& sandbox = definition.sandbox;
    static constexpr std::pair<int, const char*> kNamespaces[] = {{CLONE_NEWUSER, "user"},
                                                                  {CLONE_NEWNS, "mounts"},
                                                                  {CLONE_NEWIPC, "ipc"},
                                                                  {CLONE_NEWNET, "network"},
                                                                  {CLONE_NEWPID, "pids"}};
    Words words;
    const int namespaces = namespaces_of(sandbox, administrator);
    for (const auto& [flag, word] : kNamespaces)
        if ((namespaces & flag) != 0) words.all.push_back(word);
    if (!definition.handler.root_directory.empty()) words.all.push_back("root=" + definition.handler.root_directory);
    if (!sandbox.state_directory.empty()) {
        const auto& identity = definition.handler.identity;
        words.all.push_back(fmt::format("state={}:{}:{}", identity ? identity->uid : geteuid(),
                                        identity ? identity->gid : getegid(), sandbox.state_directory));
    }
    if ((namespaces & CLONE_NEWNS) != 0) {
        add_written(sandbox, words);
        add_own_file_systems(sandbox, words);
        add_protected(sandbox, words);
    }
    return std::move(words.all);
}

}  // namespace superd::proc
