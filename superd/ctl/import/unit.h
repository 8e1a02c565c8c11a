// SPDX-License-Identifier: MIT
#pragma once
// systemd's unit files as lists of assignments, and the small languages of their values.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "ctl/import/import.h"

namespace superd::ctl::unit {

struct Assignment {
    std::string section, key, value;
    Origin at;
};

/// A unit with its drop-ins, in their order of precedence.
class Unit {
  public:
    Unit() = default;
    /// Notes what it cannot read.
    Unit(const Units& units, const std::string& name, Notes& notes);

    const std::vector<Assignment>& assignments() const { return assignments_; }
    /// The last value; nullptr if there is none, or if it is empty, which resets the setting.
    const Assignment* last(std::string_view section, std::string_view key) const;
    /// All values since the last empty one.
    std::vector<const Assignment*> all(std::string_view section, std::string_view key) const;

  private:
    std::vector<Assignment> assignments_;
};

/// "a@b.service" comes from "a@.service"; other names stand for themselves.
std::string template_of(const std::string& name);

/// systemd.syntax(7): yes, true, on, 1 and the like. nullopt: neither true nor false.
std::optional<bool> boolean(std::string_view text);
/// systemd.time(7): "90", "5min 20s"; numbers without a unit are seconds. nullopt: "infinity", or not a time.
std::optional<Duration> time_span(std::string_view text);

/// Words as in systemd.service(5): quotes, C escapes. nullopt: a quote is not closed.
std::optional<std::vector<std::string>> words_of(std::string_view text);

/// What %n, %p, %i and the like stand for in one unit.
class Specifiers {
  public:
    explicit Specifiers(const std::string& unit_name);
    /// nullopt: it is unknown, or has no value before the unit runs.
    std::optional<std::string> expand(std::string_view text) const;

  private:
    std::map<char, std::string> values_;
};

/// A command line after replacing its variables.
struct Command {
    bool full_privileges = false;  ///< "+" and "!"
    std::string program;
    std::vector<std::string> argv;   ///< argv[0] first
    std::vector<std::string> unset;  ///< variables that it uses and nothing sets
    bool more = false;               ///< another command follows ";"
};
/// The error says what is wrong with it.
Result<Command> command_of(std::string_view text, const Specifiers& specifiers,
                           const std::map<std::string, std::string>& environment);

/// The sockets' addresses; the error says why superd cannot listen there. `key`: ListenStream …
Result<std::string> listen_uri(std::string_view key, std::string_view value, bool ipv6_only);

}  // namespace superd::ctl::unit
