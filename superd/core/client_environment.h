// SPDX-License-Identifier: MIT
#pragma once
// What a handler learns about its client: section 4 of the contract, in the names of UCSPI.

#include "model/host.h"
#include "net/listener.h"
#include "proc/environment.h"

namespace superd::core {

proc::Environment client_environment(const model::Client& client);

}  // namespace superd::core
