// SPDX-License-Identifier: MIT
// What bounds the resources of a handler under systemd, and superd's key for it: one line each. A setting without a key
// is reported as lost.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "conf/schema.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

enum class Kind { word, size, number };

struct Carried {
    std::string_view key;  ///< systemd's
    Kind kind;
    const char* section;  ///< superd's
    const char* name;
};
constexpr std::array<Carried, 7> carried{{
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
    switch (kind) {
        case Kind::word:
            return toml_text(std::string_view(one.value));
        case Kind::number:
            return all_digits(one.value) && one.value.size() < 10 ? one.value : "";
        case Kind::size:
            break;
    }
    return parse_size(one.value) ? toml_text(std::string_view(one.value)) : "";
}

}  // namespace

bool map_confinement(const unit::Assignment& one, Imported& out, Import& import) {
    const auto found = std::ranges::find(carried, one.key, &Carried::key);
    if (found == carried.end()) return false;
    const std::string key = fmt::format("{}.{}", found->section, found->name);
    const bool known = conf::find_key(found->section, found->name) != nullptr;
    const std::string toml = known ? toml_of(one, found->kind) : "";
    if (!toml.empty()) {
        out.set_toml(key, toml, one.at);
    } else {
        import.note(one.at, out.name, Fate::lost,
                    fmt::format("{}={}: {}", one.key, one.value,
                                known ? fmt::format("write {} by hand", key)
                                      : "this superd does not confine handlers in this way"));
    }
    return true;
}

}  // namespace superd::ctl::systemd
