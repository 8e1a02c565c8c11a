// SPDX-License-Identifier: MIT
#pragma once
// Telling what a machine does not provide of what its services have by a preset or a default.

#include <string>
#include <vector>

#include "conf/service.h"

namespace superd::core {

/// One line for each key and reason, with the names of services: "sandbox.private_tmp is left out for echo: …".
std::vector<std::string> left_out(const std::vector<const conf::Service*>& services);

}  // namespace superd::core
