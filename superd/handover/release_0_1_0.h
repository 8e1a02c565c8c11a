// SPDX-License-Identifier: MIT
#pragma once
// The state that superd 0.1.0 writes. This file and its .cc go when no 0.1.0 remains to be upgraded.

#include <memory>

#include "core/state.h"
#include "sys/archive.h"

namespace superd::handover::release_0_1_0 {

constexpr int kStateVersion = 2;

/// Its structs are arrays.
std::unique_ptr<sys::Positions> positions();
/// The memory of its models is numbers in a row: gives each number its name.
Result<void> name_memories(core::State& state);

}  // namespace superd::handover::release_0_1_0
