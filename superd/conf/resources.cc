// SPDX-License-Identifier: MIT
// [resources] can hold only in a cgroup that superd may divide, and where that has the controller.
#include <fmt/format.h>

#include "conf/validate.h"

namespace superd::conf {

namespace {

using toml::Value;

struct Limited {
    const char* name;
    const char* controller;  ///< nullptr: none is needed
    void (*leave)(Resources&);
};
constexpr Limited kLimited[] = {
    {"resources.memory_max", "memory", [](Resources& of) { of.memory_max.reset(); }},
    {"resources.memory_high", "memory", [](Resources& of) { of.memory_high.reset(); }},
    {"resources.memory_swap_max", "memory", [](Resources& of) { of.memory_swap_max.reset(); }},
    {"resources.pids_max", "pids", [](Resources& of) { of.pids_max.reset(); }},
    {"resources.cpu_max", "cpu", [](Resources& of) { of.cpu_max.reset(); }},
    {"resources.cpu_weight", "cpu", [](Resources& of) { of.cpu_weight.reset(); }},
    {"resources.io_weight", "io", [](Resources& of) { of.io_weight.reset(); }},
    {"resources.leftovers", nullptr, [](Resources& of) { of.leftovers = Leftovers::keep; }},
};

/// "": it can be had.
std::string cannot_be_had(const Limited& what, const sys::Delegation& given) {
    if (given.folder.empty())
        return fmt::format(
            "needs a cgroup of superd's own, and {}: under systemd, superd.service gets one by Delegate=yes",
            given.missing);
    if (what.controller == nullptr || given.controllers.contains(what.controller)) return "";
    return fmt::format("needs the cgroup v2 controller \"{}\", which superd's cgroup {} does not have", what.controller,
                       given.folder);
}

}  // namespace

void resolve_resources(Draft& draft, const Context& context, Diagnostics& errors) {
    if (!context.from.cgroup) return;
    for (const Limited& what : kLimited) {
        const Value* value = draft.get(what.name);
        const bool asked = value != nullptr && !(what.controller == nullptr && value->text == "keep");
        if (!asked || draft.is_broken(what.name)) continue;
        std::string why = cannot_be_had(what, *context.from.cgroup);
        if (why.empty()) continue;
        if (own(draft, context, what.name) != nullptr) {
            draft.reject_here(what.name, value, fmt::format("{} {}", what.name, why), errors);
        } else {  // a default need not hold everywhere
            what.leave(*draft.service.resources);
            draft.warnings.push_back(
                {value->spot.place(), fmt::format("{} is left out: it {}", what.name, why), true, true});
            draft.service.resources->left_out.push_back({what.name, "it " + why});
        }
    }
}

}  // namespace superd::conf
