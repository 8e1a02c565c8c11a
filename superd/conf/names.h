// SPDX-License-Identifier: MIT
#pragma once
// What is a definition, by its file's name alone.

#include <string>
#include <string_view>

namespace superd::conf {

/// A definition or a drop-in: NAME.toml, but not what editors and package managers leave.
bool is_definition(const std::string& file);

/// May a service be called this?
bool is_service_name(std::string_view name);

}  // namespace superd::conf
