// SPDX-License-Identifier: MIT
#pragma once
// xinetd.conf as a list of entries, and one entry as a superd service.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/access.h"
#include "ctl/import/import.h"

namespace superd::ctl::xinetd {

/// An attribute's value after =, += and -= in defaults and in the entry.
struct Attribute {
    std::vector<std::string> words;
    Origin at;  ///< the last line that contributed to it
};
using Attributes = std::map<std::string, Attribute, std::less<>>;

struct Entry {
    std::string service;
    Origin at;
    Attributes attributes;   ///< including those of defaults, by lower-case name
    bool late_name = false;  ///< server_args came before the NAMEINARGS flag that changes its meaning
    /// Why xinetd does not start it, and where that is written; empty: it does.
    std::string off;
    Origin off_at;
};

struct File {
    Attributes defaults;
    std::vector<Entry> services;
};

/// Reads the file and what it includes, as xinetd 2.3.15 does. Notes what it cannot read.
File read(const std::string& file, std::string_view text, const Machine& machine, Notes& notes);

/// An attribute that xinetd knows.
struct Known {
    std::string_view name;
    int values;        ///< how many it takes; kAny, or kSet for those that allow += and -=
    bool in_defaults;  ///< otherwise xinetd ignores it there
};
constexpr int kAny = -1, kSet = -2;
/// nullptr: unknown.
const Known* known(std::string_view name);

/// Why xinetd refuses the value of an attribute, which switches the service off; empty: it accepts the value.
std::string why_refused(std::string_view name, std::string_view op, const std::vector<std::string>& words);

/// Adds the service, or reports why there is none.
void map_service(const Entry& entry, const Machine& machine, Import& import);

/// A list of only_from or no_access as prefixes; `names` gets what is not an address.
std::vector<sys::Prefix> prefixes_of(const std::vector<std::string>& words, std::vector<std::string>& names);

}  // namespace superd::ctl::xinetd
