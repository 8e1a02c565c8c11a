// SPDX-License-Identifier: MIT
#include "conf/plan.h"

#include <algorithm>
#include <set>

#include "conf/schema.h"

namespace superd::conf {

namespace {

const Service* find_enabled(const Catalog& catalog, const std::string& name) {
    const auto found = catalog.services.find(name);
    return found != catalog.services.end() && found->second.enabled ? &found->second : nullptr;
}

PlanItem compare(const std::string& name, const Service* running, const Service* next) {
    PlanItem item{name, Change::unchanged, {}};
    if (running == nullptr || next == nullptr) {
        item.change = running == nullptr ? Change::add : Change::remove;
        return item;
    }
    if (*running == *next) return item;
    item.change = Change::renew;
    for (const Key& key : keys()) {
        if (key.same == nullptr || key.same(*running, *next)) continue;
        item.keys.push_back(key.full_name());
        if (key.name == "listen" || key.section == "socket") item.change = Change::rebind;
    }
    return item;
}

}  // namespace

std::vector<PlanItem> plan(const Catalog& running, const Catalog& next) {
    std::set<std::string> names;
    for (const Catalog* catalog : {&running, &next}) {
        for (const auto& [name, service] : catalog->services) {
            if (service.enabled) names.insert(name);
        }
    }
    std::vector<PlanItem> items;
    for (const std::string& name : names)
        items.push_back(compare(name, find_enabled(running, name), find_enabled(next, name)));
    return items;
}

}  // namespace superd::conf
