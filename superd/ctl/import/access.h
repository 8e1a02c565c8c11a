// SPDX-License-Identifier: MIT
#pragma once
// Who may come in: the one place where another server's lists become [access], so that nobody gets in who was kept out.

#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/import.h"
#include "sys/prefix.h"

namespace superd::ctl {

/// One list of rules as the other server reads it: the first one that matches decides. A client has to pass every list
/// that there is.
struct AccessList {
    struct Rule {
        sys::Prefix prefix;
        bool in = false;
    };
    std::string name;  ///< as reports call it: "only_from"
    Origin at;
    std::vector<Rule> rules;
    bool rest = true;  ///< whether those are let in whom no rule matches
    /// Words that no prefix stands for: names, user names, files. Those they let in stay outside, which is reported;
    /// those they keep out would come in, so the service is switched off.
    std::vector<std::string> lost_in, lost_out;

    void add(const std::vector<sys::Prefix>& prefixes, bool in);
    /// Puts the longest prefixes first, and of equal ones those that keep out, as superd itself does.
    void by_length();
};

/// Sets access.allow and access.deny to what all lists together let in.
void set_access(Import& import, Imported& service, const std::vector<AccessList>& lists);

/// As people write it: an address alone without a length.
std::string text_of(const sys::Prefix& prefix);

/// 0.0.0.0/0 and ::/0.
std::vector<sys::Prefix> everybody();

/// What hosts.allow and hosts.deny say of that daemon, hosts_access(5). Empty where they keep nobody out.
std::vector<AccessList> wrapper_lists(const Machine& machine, std::string_view daemon);

}  // namespace superd::ctl
