// SPDX-License-Identifier: MIT
#pragma once
// inetd.conf as a list of entries, in the dialects of five inetds, and one entry as a superd service.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/import/import.h"

namespace superd::ctl::inetd {

/// An entry's fields, in whichever notation.
struct Entry {
    Origin at;
    std::vector<std::string> hosts{"*"};  ///< addresses and names; "*": all
    std::string service;                  ///< a port's name or number, or a path
    std::string type;                     ///< stream, dgram …
    std::string protocol;                 ///< without options
    std::string user, group;
    std::string program;
    std::vector<std::string> argv;
    bool wait = false;
    std::string receive_buffer, send_buffer;
    std::optional<int> instances, per_minute, per_source, per_source_minute;
    std::string socket_user, socket_group, socket_mode;  ///< for a path
    std::string off;                                     ///< why its inetd does not start it; empty: it does
};

/// What update-inetd puts before a line that it switches off.
constexpr std::string_view kOffMark = "#<off>#";

/// What a file shows about the inetd it was written for.
struct Guess {
    Dialect dialect = Dialect::bsd;
    int line = 0;  ///< the line that shows it; 0: none does
};
Guess guess(std::string_view text);
/// "of FreeBSD"
const char* whose(Dialect dialect);

/// Words between blanks; with `quotes`, a word that starts with a quote ends at the next such quote. nullopt: there is
/// no closing quote.
std::optional<std::vector<std::string>> words_of(std::string_view line, bool quotes);

/// A positive number; nullopt: anything else.
std::optional<int> count_of(std::string_view text);

/// A place in a text of many lines.
struct Cursor {
    std::string_view text;
    std::size_t at = 0;
    int line = 1;
};
/// Reads NetBSD's KEY = VALUE…, … ; into the entry, from after "on" or "off" to after the semicolon. An error is a
/// syntax error, after which the rest of the file cannot be read; a fault in one option only goes into Entry::off.
Result<void> read_keys(Cursor& cursor, Entry& entry);

/// Adds the service, or reports why there is none.
void map_service(const Entry& entry, Dialect dialect, const Machine& machine, Import& import);

}  // namespace superd::ctl::inetd
