// SPDX-License-Identifier: MIT
#pragma once
// The answer to the verb "security": how exposed services are.

#include <optional>
#include <string>

#include "conf/catalog.h"
#include "control/shapes.h"

namespace superd::control {

/// All services, each in one line; or one of them with every line of its rating, and its unit. nullopt: no such one.
std::optional<JsonText> security(const conf::Catalog& catalog, const std::string& service);

}  // namespace superd::control
