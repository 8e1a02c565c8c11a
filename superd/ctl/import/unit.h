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

/// A unit with its drop-ins, in the order in which they count.
class Unit {
  public:
    Unit() = default;
    /// What cannot be read is noted.
    Unit(const Units& units, const std::string& name, Notes& notes);

    const std::vector<Assignment>& assignments() const { return assignments_; }
    /// The last one; nullptr where there is none, or where it is empty, which takes back what was said before.
    const Assignment* last(std::string_view section, std::string_view key) const;
    /// All since the last empty one.
    std::vector<const Assignment*> all(std::string_view section, std::string_view key) const;

  private:
    std::vector<Assignment> assignments_;
};

/// "a@b.service" is made of "a@.service"; other names are their own.
std::string template_of(const std::string& name);

/// systemd.syntax(7): yes, true, on, 1 and their likes. nullopt: neither true nor false.
std::optional<bool> boolean(std::string_view text);
/// systemd.time(7): "90", "5min 20s"; numbers without a unit are seconds. nullopt: "infinity" and what is no time.
std::optional<Duration> time_span(std::string_view text);

/// Words as in systemd.service(5): quotes, C escapes. nullopt: a quote is not closed.
std::optional<std::vector<std::string>> words_of(std::string_view text);

/// What %n, %p, %i and their likes stand for in one unit.
class Specifiers {
  public:
    explicit Specifiers(const std::string& unit_name);
    /// nullopt: one that has no value before the unit runs, or that is unknown.
    std::optional<std::string> expand(std::string_view text) const;

  private:
    std::map<char, std::string> values_;
};

/// A command line with its variables replaced.
struct Command {
    bool full_privileges = false;  ///< "+" and "!"
    std::string program;
    std::vector<std::string> argv;   ///< argv[0] first
    std::vector<std::string> unset;  ///< variables that it uses and nobody sets
    bool more = false;               ///< another command follows after ";"
};
/// The error tells what is wrong with it.
Result<Command> command_of(std::string_view text, const Specifiers& specifiers,
                           const std::map<std::string, std::string>& environment);

/// The sockets' addresses; the error tells why superd cannot listen there. `key`: ListenStream …
Result<std::string> listen_uri(std::string_view key, std::string_view value, bool ipv6_only);

}  // namespace superd::ctl::unit
