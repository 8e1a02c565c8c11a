// SPDX-License-Identifier: MIT
#pragma once
// The sandbox of superd-tls: what a client that has taken it over can still do.

#include <string>

namespace superd::tls {

/// No dump, nobody may trace it, no core, no privilege to gain.
void hide();

/// From here on only the calls that serving takes: no file, no new socket but a pair's, no process, no code.
/// An error as text; empty: done.
std::string confine();

}  // namespace superd::tls
