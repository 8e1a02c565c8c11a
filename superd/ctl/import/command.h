// SPDX-License-Identifier: MIT
#pragma once
// Servers that are a command line: tcpserver, ipsvd, socat, ncat, systemd-socket-activate.

#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/access.h"
#include "ctl/import/import.h"

namespace superd::ctl::command {

/// Options and what follows them, as getopt(3) reads them up to the first word that is not an option.
struct Options {
    struct Option {
        std::string name;  ///< "-c", "--accept"
        std::string value;
    };
    std::vector<Option> given;
    std::vector<std::string> rest;

    /// The last occurrence; nullptr: not given.
    const std::string* find(std::string_view name) const;
    bool has(std::string_view name) const { return find(name) != nullptr; }
};
/// `valued`: options that take a value, separated by blanks ("-c --port"). The error names an option without its value.
Result<Options> read_options(const std::vector<std::string>& words, std::string_view valued, bool mixed = false);

/// Rules of tcprules(1) or ipsvd(7) in a cdb, or the text that tcprules reads.
AccessList rules_of_cdb(const std::string& path, const std::string& content, bool ipsvd);
/// ipsvd-instruct(5): a folder with a file for each address or name.
AccessList rules_of_folder(const Machine& machine, const std::string& path);

/// The result common to all of them: `out` gets exec, its name, and its place.
void set_program(Import& import, Imported& out, std::vector<std::string> argv, const std::string& folder);

void map_tcpserver(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import);
void map_ipsvd(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import);
void map_socat(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import);
void map_ncat(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import);
void map_activate(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import);

/// "tcp://HOST:PORT" for each address of the host; empty, and noted, if it has none.
std::vector<std::string> uris(Import& import, const Imported& out, const Machine& machine, std::string_view protocol,
                              std::string host, const std::string& port, std::string_view family);

}  // namespace superd::ctl::command
