// SPDX-License-Identifier: MIT
#pragma once
// The parts of a systemd socket and its service, each as settings of one service of superd's. What is not carried is
// noted.

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

/// [Unit] and [Install] of both.
void map_unit(const unit::Unit& socket, const unit::Unit& service, Imported& out, Import& import);

}  // namespace superd::ctl::systemd
