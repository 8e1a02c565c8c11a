// SPDX-License-Identifier: MIT
#include "conf/plan.h"

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

std::vector<PlanItem> plan(const Catalog& running, const Catalog& next, const std::set<std::string>& kept) {
    std::vector<PlanItem> items;
    const auto add = [&](const std::string& name) {
        const Service* before = find_enabled(running, name);
        const Service* after = kept.contains(name) ? before : find_enabled(next, name);
        if (before == nullptr && after == nullptr) return;
        items.push_back(before == after ? PlanItem{name, Change::unchanged, {}} : compare(name, before, after));
    };
    auto old = running.services.begin();
    auto coming = next.services.begin();
    while (old != running.services.end() || coming != next.services.end()) {
        const bool is_old =
            coming == next.services.end() || (old != running.services.end() && old->first <= coming->first);
        const std::string& name = is_old ? old->first : coming->first;
        add(name);
        if (coming != next.services.end() && coming->first == name) ++coming;
        if (is_old) ++old;
    }
    return items;
}

}  // namespace superd::conf
