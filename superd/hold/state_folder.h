// SPDX-License-Identifier: MIT
#pragma once
// The folder that a service keeps its state in.

#include <string>

namespace superd::hold {

struct Failure;

/// `order`: "UID:GID:NAME", or "" for none. Makes what is missing of this name below /var/lib, and gives the folder to
/// the user. A part of the name may belong to others: no link in it is followed.
Failure make_state_folder(const std::string& order, const std::string& root);

}  // namespace superd::hold
