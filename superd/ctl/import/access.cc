// SPDX-License-Identifier: MIT
#include "ctl/import/access.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace superd::ctl {

namespace {

bool covers(const sys::Prefix& outer, const sys::Prefix& inner) {
    return outer.length <= inner.length && outer.contains(inner.base);
}

/// All clients of a prefix, except those of a longer prefix that some rule names.
bool lets_in(const AccessList& list, const sys::Prefix& clients) {
    const auto rule =
        std::ranges::find_if(list.rules, [&](const AccessList::Rule& one) { return covers(one.prefix, clients); });
    return rule != list.rules.end() ? rule->in : list.rest;
}

struct Piece {
    sys::Prefix prefix;
    bool in = false;
};

/// All addresses, divided where a rule begins or ends; wider blocks first.
std::vector<Piece> pieces_of(const std::vector<AccessList>& lists) {
    std::vector<sys::Prefix> cuts = everybody();
    for (const AccessList& list : lists) {
        for (const AccessList::Rule& rule : list.rules) {
            if (std::ranges::find(cuts, rule.prefix) == cuts.end()) cuts.push_back(rule.prefix);
        }
    }
    std::ranges::stable_sort(cuts, {}, &sys::Prefix::length);
    std::vector<Piece> out;
    for (const sys::Prefix& cut : cuts) {
        const bool in = std::ranges::all_of(lists, [&](const AccessList& list) { return lets_in(list, cut); });
        // Omit a block if the narrowest one around it already says the same.
        const auto around = std::ranges::find_if(out.rbegin(), out.rend(),
                                                 [&](const Piece& piece) { return covers(piece.prefix, cut); });
        if (around == out.rend() || around->in != in) out.push_back({cut, in});
    }
    return out;
}

bool has_ip(const Imported& service) {
    const auto listen = service.settings.find("listen");
    if (listen == service.settings.end()) return false;
    const std::string& toml = listen->second.toml;
    return toml.find("tcp://") != std::string::npos || toml.find("udp://") != std::string::npos;
}

void report_lost(Import& import, Imported& service, const AccessList& list) {
    if (!list.lost_in.empty()) {
        import.note(list.at, service.name, Fate::lost,
                    fmt::format("{} {}: superd knows clients only by address: these are not let in", list.name,
                                fmt::join(list.lost_in, " ")));
    }
    if (!list.lost_out.empty()) {
        import.disable(service, list.at,
                       fmt::format("{} {}: superd knows clients only by address and would let these in", list.name,
                                   fmt::join(list.lost_out, " ")));
    }
}

}  // namespace

std::string text_of(const sys::Prefix& prefix) {
    const std::string text = prefix.text();
    return prefix.length == (prefix.base.v6 ? 128 : 32) ? text.substr(0, text.rfind('/')) : text;
}

std::vector<sys::Prefix> everybody() {
    return {*sys::parse_prefix("0.0.0.0/0"), *sys::parse_prefix("::/0")};
}

void AccessList::add(const std::vector<sys::Prefix>& prefixes, bool in) {
    for (const sys::Prefix& prefix : prefixes) rules.push_back({prefix, in});
}

void AccessList::by_length() {
    std::ranges::stable_sort(rules, [](const Rule& a, const Rule& b) {
        return a.prefix.length != b.prefix.length ? a.prefix.length > b.prefix.length : !a.in && b.in;
    });
}

void set_access(Import& import, Imported& service, const std::vector<AccessList>& lists) {
    if (lists.empty()) return;
    if (!has_ip(service)) {
        for (const AccessList& list : lists)
            import.note(list.at, service.name, Fate::lost, list.name + ": it listens on no IP address");
        return;
    }
    for (const AccessList& list : lists) report_lost(import, service, list);
    std::vector<std::string> allow, deny;
    const std::vector<Piece> pieces = pieces_of(lists);
    const auto is_root = [](const Piece& piece) { return piece.prefix.length == 0; };
    for (const Piece& piece : pieces) {
        if (!is_root(piece)) (piece.in ? allow : deny).push_back(text_of(piece.prefix));
    }
    // superd's allow list denies the rest, so everybody must be in it where only a few are denied.
    const bool listed = !allow.empty();
    for (const Piece& piece : pieces) {
        if (is_root(piece) && piece.in == listed) (listed ? allow : deny).push_back(text_of(piece.prefix));
    }
    if (!allow.empty()) service.set("access.allow", allow, lists.back().at);
    if (!deny.empty()) service.set("access.deny", deny, lists.back().at);
}

}  // namespace superd::ctl
