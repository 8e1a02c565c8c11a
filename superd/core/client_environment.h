// SPDX-License-Identifier: MIT
#pragma once
// What a handler learns about its client: section 4 of the contract, in the names of UCSPI.

#include <vector>

#include "model/host.h"
#include "net/listener.h"
#include "proc/environment.h"

namespace superd::core {

proc::Environment client_environment(const model::Client& client);
/// What is known of all clients before there is one: the protocol, and where they come to, if there is one such place.
proc::Environment listener_environment(const std::vector<const net::Listener*>& listeners);

}  // namespace superd::core
