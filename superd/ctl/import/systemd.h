// SPDX-License-Identifier: MIT
#pragma once
// The parts of a systemd socket and its service, each as settings of one service of superd's. What is not carried is
// noted.

#include "conf/schema.h"
#include "ctl/import/import.h"
#include "ctl/import/unit.h"

namespace superd::ctl::systemd {

/// [Socket], but where it listens. `accepted`: the handler gets connections.
void map_socket(const unit::Unit& socket, bool accepted, Imported& out, Import& import);

struct Handler {
    const unit::Unit& service;
    const unit::Specifiers& specifiers;
    bool accepted = false;  ///< it gets connections
};
/// [Service]. False: there is no command to run, which has been noted.
bool map_handler(const Handler& handler, Imported& out, Import& import);

/// A unit that has lists of its own.
struct Listing {
    const unit::Unit& unit;
    std::string name;
    std::string section;
};
/// IPAddressAllow and IPAddressDeny of both and of their slices: who comes in has to pass the socket's and the
/// service's.
void map_access(const Units& units, const Listing& socket, const Listing& service, Imported& out, Import& import);

/// What confines the handler, as far as superd has a key for it. False: it is no such setting.
bool map_confinement(const unit::Assignment& one, Imported& out, Import& import);

/// Whether it is one whose lines add up.
bool is_confinement_list(std::string_view key);

/// A setting whose counterpart is `key`, by the key's type. False: it is no value that superd could take.
bool carry(const unit::Assignment& one, const conf::Key& key, Imported& out);

/// [Unit] and [Install] of both.
void map_unit(const unit::Unit& socket, const unit::Unit& service, Imported& out, Import& import);

}  // namespace superd::ctl::systemd
