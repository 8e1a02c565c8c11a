// SPDX-License-Identifier: MIT
#pragma once
// From a tree of values to a draft of a service: each key by itself, by the table in schema.h.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "conf/diagnostic.h"
#include "conf/schema.h"
#include "conf/service.h"
#include "conf/toml.h"

namespace superd::conf {

/// A service whose keys have been read one by one, but not yet compared with each other.
struct Draft {
    Service service;
    std::string file;                                              ///< the file to name for a missing key
    std::map<std::string, const toml::Value*, std::less<>> given;  ///< valid values by full name
    std::set<std::string, std::less<>> broken;                     ///< full names of keys with a reported error
    std::map<std::string, toml::Spot, std::less<>> sections;       ///< those that are there, even if empty
    Diagnostics warnings;
    bool asks = false;  ///< it is not known yet what another program says of it: Consultations

    /// nullptr: not given, or broken.
    const toml::Value* get(std::string_view name) const {
        const auto found = given.find(name);
        return found != given.end() ? found->second : nullptr;
    }
    bool is_broken(std::string_view name) const { return broken.contains(name); }
    /// Reports what is wrong with a key, at its value; nothing more is reported about that key.
    void reject(std::string_view name, const toml::Spot& spot, std::string message, Diagnostics& errors);
    /// The same about the file as a whole.
    void reject(std::string_view name, std::string message, Diagnostics& errors);
    /// The same for an error of this machine that may be right on another: at its value, or for the file as a whole.
    void reject_here(std::string_view name, const toml::Value* value, std::string message, Diagnostics& errors);
};

enum class Scope { service, defaults };

/// Reads all keys of `root`, a table that must outlive the draft.
void read(const toml::Value& root, Scope scope, Draft& draft, Diagnostics& errors);

/// Reads one value by its key's shape; reports an error and returns false if it does not fit.
bool read_value(const Key& key, const toml::Value& value, Reading& out, Diagnostics& errors);

/// `NAME "x": expected WHAT, found a table`
std::string wrong_type(std::string_view name, std::string_view expected, const toml::Value& value);

/// ` (did you mean "x"?)`, or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

/// The strings of a string or an array of strings.
std::vector<const toml::Value*> words_of(const toml::Value& value);

}  // namespace superd::conf
