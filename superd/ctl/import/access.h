// SPDX-License-Identifier: MIT
#pragma once
// Who may come in: the one place where another server's lists become [access], so that no client gets in that was
// kept out before.

#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/import.h"
#include "sys/prefix.h"

namespace superd::ctl {

/// One list of rules as the other server reads it: the first match decides. A client must pass every list.
struct AccessList {
    struct Rule {
        sys::Prefix prefix;
        bool in = false;
    };
    std::string name;  ///< as reports call it: "only_from"
    Origin at;
    std::vector<Rule> rules;
    bool rest = true;  ///< whether it lets in clients that no rule matches
    /// Words without a prefix: names, user names, files. Those that would be let in stay out, which is reported. Those
    /// that would be kept out would come in, so the service is switched off.
    std::vector<std::string> lost_in, lost_out;

    void add(const std::vector<sys::Prefix>& prefixes, bool in);
    /// Puts the longest prefixes first, and among equal ones the denying rules, as superd itself does.
    void by_length();
};

/// Sets access.allow and access.deny to what all lists together allow.
void set_access(Import& import, Imported& service, const std::vector<AccessList>& lists);

/// As people write it: a single address without a length.
std::string text_of(const sys::Prefix& prefix);

/// 0.0.0.0/0 and ::/0.
std::vector<sys::Prefix> everybody();

/// What hosts.allow and hosts.deny say about this daemon, hosts_access(5). Empty if they keep nobody out.
std::vector<AccessList> wrapper_lists(const Machine& machine, std::string_view daemon);

}  // namespace superd::ctl
