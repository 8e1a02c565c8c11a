// SPDX-License-Identifier: MIT
#pragma once
// The parts of a systemd socket and its service as settings of one superd service. What is not carried over is noted.

#include "conf/schema.h"
#include "ctl/import/import.h"
#include "ctl/import/unit.h"

namespace superd::ctl::systemd {

/// [Socket], except where it listens. `accepted`: the handler gets connections.
void map_socket(const unit::Unit& socket, bool accepted, Imported& out, Import& import);

struct Handler {
    const unit::Unit& service;
    const unit::Specifiers& specifiers;
    bool accepted = false;  ///< it gets connections
};
/// [Service]. False: it has no command to run, which has been noted.
bool map_handler(const Handler& handler, Imported& out, Import& import);

/// A unit with its own lists.
struct Listing {
    const unit::Unit& unit;
    std::string name;
    std::string section;
};
/// IPAddressAllow and IPAddressDeny of both units and their slices: a client must pass both the socket's and the
/// service's.
void map_access(const Units& units, const Listing& socket, const Listing& service, Imported& out, Import& import);

/// Is it one that map_sandbox() looks at?
bool is_sandbox_setting(std::string_view key);
/// What of the unit becomes [sandbox].
void map_sandbox(const Handler& handler, Imported& out, Import& import);

/// A setting whose counterpart is `key`, by the key's type. False: it is no value that superd could take.
bool carry(const unit::Assignment& one, const conf::Key& key, Imported& out);

/// [Unit] and [Install] of both.
void map_unit(const unit::Unit& socket, const unit::Unit& service, Imported& out, Import& import);

}  // namespace superd::ctl::systemd
