// SPDX-License-Identifier: MIT
// What confines a handler under systemd, and superd's key for it: one line each. A setting without a key is reported as
// lost.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "conf/schema.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

enum class Kind { flag, word, list, capabilities, size, number };

struct Carried {
    std::string_view key;  ///< systemd's
    Kind kind;
    const char* section;  ///< superd's
    const char* name;
};
constexpr std::array<Carried, 33> carried{{
    {"NoNewPrivileges", Kind::flag, "sandbox", "no_new_privileges"},
    {"CapabilityBoundingSet", Kind::capabilities, "sandbox", "capabilities"},
    {"AmbientCapabilities", Kind::capabilities, "sandbox", "ambient_capabilities"},
    {"PrivateNetwork", Kind::flag, "sandbox", "private_network"},
    {"PrivateTmp", Kind::flag, "sandbox", "private_tmp"},
    {"PrivateDevices", Kind::flag, "sandbox", "private_devices"},
    {"PrivatePIDs", Kind::flag, "sandbox", "private_pids"},
    {"PrivateIPC", Kind::flag, "sandbox", "private_ipc"},
    {"ProtectSystem", Kind::word, "sandbox", "protect_system"},
    {"ProtectHome", Kind::word, "sandbox", "protect_home"},
    {"ProtectKernelTunables", Kind::flag, "sandbox", "protect_kernel"},
    {"ProtectKernelModules", Kind::flag, "sandbox", "protect_kernel"},
    {"ProtectKernelLogs", Kind::flag, "sandbox", "protect_kernel"},
    {"ProtectProc", Kind::word, "sandbox", "protect_proc"},
    {"ReadOnlyPaths", Kind::list, "sandbox", "read_only_paths"},
    {"ReadWritePaths", Kind::list, "sandbox", "read_write_paths"},
    {"InaccessiblePaths", Kind::list, "sandbox", "inaccessible_paths"},
    {"StateDirectory", Kind::word, "sandbox", "state_directory"},
    {"SystemCallFilter", Kind::list, "sandbox", "syscalls"},
    {"SystemCallErrorNumber", Kind::word, "sandbox", "syscall_error"},
    {"MemoryDenyWriteExecute", Kind::flag, "sandbox", "memory_deny_write_execute"},
    {"RestrictAddressFamilies", Kind::list, "sandbox", "restrict_address_families"},
    {"RestrictNamespaces", Kind::flag, "sandbox", "restrict_namespaces"},
    {"RestrictRealtime", Kind::flag, "sandbox", "restrict_realtime"},
    {"RestrictSUIDSGID", Kind::flag, "sandbox", "restrict_suid_sgid"},
    {"LockPersonality", Kind::flag, "sandbox", "lock_personality"},
    {"MemoryMax", Kind::size, "resources", "memory_max"},
    {"MemoryHigh", Kind::size, "resources", "memory_high"},
    {"MemorySwapMax", Kind::size, "resources", "memory_swap_max"},
    {"TasksMax", Kind::number, "resources", "pids_max"},
    {"CPUQuota", Kind::word, "resources", "cpu_max"},
    {"CPUWeight", Kind::number, "resources", "cpu_weight"},
    {"IOWeight", Kind::number, "resources", "io_weight"},
}};

/// As TOML; empty: superd has no such form.
std::string toml_of(const unit::Assignment& one, Kind kind) {
    const auto flag = unit::boolean(one.value);
    switch (kind) {
        case Kind::flag:
            return flag ? (*flag ? "true" : "false") : "";
        case Kind::word:
            return flag ? (*flag ? "true" : "false") : toml_text(std::string_view(one.value));
        case Kind::number:
            return all_digits(one.value) && one.value.size() < 10 ? one.value : "";
        case Kind::size:
            return parse_size(one.value) ? toml_text(std::string_view(one.value)) : "";
        case Kind::capabilities:
        case Kind::list:
            break;
    }
    auto words = unit::words_of(one.value);
    if (!words || words->empty()) return "";
    for (std::string& word : *words) {
        constexpr std::string_view prefix = "CAP_";
        if (kind == Kind::capabilities && word.starts_with('~')) return "";
        if (kind == Kind::capabilities && word.starts_with(prefix)) word.erase(0, prefix.size());
    }
    return toml_text(*words);
}

}  // namespace

bool is_confinement_list(std::string_view key) {
    const auto found = std::ranges::find(carried, key, &Carried::key);
    return found != carried.end() && (found->kind == Kind::list || found->kind == Kind::capabilities);
}

bool map_confinement(const unit::Assignment& one, Imported& out, Import& import) {
    const auto found = std::ranges::find(carried, one.key, &Carried::key);
    if (found == carried.end()) return false;
    const std::string key = fmt::format("{}.{}", found->section, found->name);
    const bool known = conf::find_key(found->section, found->name) != nullptr;
    const std::string toml = known ? toml_of(one, found->kind) : "";
    if (!toml.empty()) {
        // In lists, each line adds to the earlier ones.
        const auto before = out.settings.find(key);
        const bool more = toml.starts_with('[') && before != out.settings.end();
        std::string all = more ? before->second.toml : "";
        if (more) all.replace(all.size() - 1, 1, ", " + toml.substr(1));
        out.set_toml(key, more ? all : toml, one.at);
    } else {
        import.note(one.at, out.name, Fate::lost,
                    fmt::format("{}={}: {}", one.key, one.value,
                                known ? fmt::format("write {} by hand", key)
                                      : "this superd does not confine handlers in this way"));
    }
    return true;
}

}  // namespace superd::ctl::systemd
