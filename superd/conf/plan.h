// SPDX-License-Identifier: MIT
#pragma once
// What a reload would change, service by service.

#include <set>
#include <string>
#include <vector>

#include "conf/catalog.h"

namespace superd::conf {

/// In rising order of cost: rebind changes listening sockets, renew only models, handlers and limits.
enum class Change { unchanged, add, remove, rebind, renew };
constexpr auto names_of(Change) {
    return std::array{"unchanged", "add", "remove", "rebind", "renew"};
}

struct PlanItem {
    std::string service;
    Change change = Change::unchanged;
    std::vector<std::string> keys;  ///< the keys that differ, as written in the file: "model", "limits.instances"
};

/// Disabled services count as absent. Ordered by name. Those in `kept` are as in `running`, and not in `next`.
std::vector<PlanItem> plan(const Catalog& running, const Catalog& next, const std::set<std::string>& kept = {});

}  // namespace superd::conf
