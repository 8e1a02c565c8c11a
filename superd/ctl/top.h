// SPDX-License-Identifier: MIT
#pragma once
// superctl top: services and connections on one screen, refreshed every second.

#include <string>

namespace superd::ctl {

/// Runs until the user quits. Returns the exit status.
int top(const std::string& control_path);

}  // namespace superd::ctl
