// SPDX-License-Identifier: MIT
#pragma once
// superctl top: services and connections on one screen, again each second.

#include <string>

namespace superd::ctl {

/// Until the user leaves. The exit status.
int top(const std::string& control_path);

}  // namespace superd::ctl
