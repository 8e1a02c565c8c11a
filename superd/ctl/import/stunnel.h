// SPDX-License-Identifier: MIT
#pragma once
// stunnel.conf as a list of sections, and one section as a superd service.

#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/import.h"

namespace superd::ctl::stunnel {

struct Option {
    std::string name;  ///< as stunnel compares it: in lower case
    std::string value;
    Origin at;
    std::string text() const { return name + " = " + value; }
};

/// What stunnel does with an option, and what becomes of it.
struct Known {
    enum class How {
        carried,   ///< a function sets superd's keys by it
        settled,   ///< superd does so anyway, or the option changes nothing that a client or handler sees
        lost,      ///< `why`
        global,    ///< before the first section only; without `why` it changes nothing
        excludes,  ///< without it more clients would be let in, or elsewhere: `why`
    };
    std::string_view name;
    How how;
    const char* why = "";
};
/// nullptr: stunnel does not know it, and does not start.
const Known* known(std::string_view name);

/// A section with what it has from the options before the first one.
struct Section {
    std::string name;
    Origin at;
    std::vector<Option> options;
    std::string fault;  ///< why stunnel refuses the file; empty: it does not
    Origin fault_at;

    /// The last of that name counts; nullptr: there is none.
    const Option* find(std::string_view wanted) const;
    std::string value(std::string_view wanted) const;
    bool yes(std::string_view wanted) const { return lower(value(wanted)) == "yes"; }
};

struct File {
    Section global;  ///< the options before the first section
    std::vector<Section> sections;
};

/// Reads the file and what it includes. Notes what cannot be read.
File read(const std::string& file, std::string_view text, const Machine& machine, Notes& notes);

/// Adds the service, or reports why there is none.
void map_section(const Section& section, const File& file, const Machine& machine, Import& import);

/// Sets [tls]. `others`: sections with their own certificates for names of this one.
void map_tls(const Section& section, const std::vector<const Section*>& others, const Machine& machine, Imported& out,
             Import& import);

/// Whether it takes only clients whose certificates it has checked.
bool checks_clients(const Section& section);

/// A number as stunnel reads it, which takes 02, +2 and 4294967298 for 2; -1: it is none, or less than 0.
int level_of(const std::string& value);

/// A path as stunnel finds it, which starts in this folder.
std::string absolute(const std::string& path, const Machine& machine);

}  // namespace superd::ctl::stunnel
