// SPDX-License-Identifier: MIT
#pragma once
// xinetd.conf as a list of entries, and one entry as a service of superd's.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/import.h"

namespace superd::ctl::xinetd {

/// What an attribute comes to after =, += and -= in defaults and in the entry.
struct Attribute {
    std::vector<std::string> words;
    Origin at;  ///< the last line that had a part in it
};
using Attributes = std::map<std::string, Attribute, std::less<>>;

struct Entry {
    std::string service;
    Origin at;
    Attributes attributes;  ///< with those of defaults
};

struct File {
    Attributes defaults;
    std::vector<Entry> services;
};

/// Reads the file and what it includes. What cannot be read is noted.
File read(const std::string& file, std::string_view text, const Includes& includes, Notes& notes);

/// Adds the service, or says why there is none.
void map_service(const Entry& entry, Import& import);

/// A list of only_from or no_access as prefixes; `names` gets what is no address.
std::vector<std::string> prefixes_of(const std::vector<std::string>& words, std::vector<std::string>& names);

}  // namespace superd::ctl::xinetd
