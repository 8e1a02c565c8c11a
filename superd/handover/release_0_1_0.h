// SPDX-License-Identifier: MIT
#pragma once
// The state that superd 0.1.0 writes. This and its .cc go when no 0.1.0 is to be upgraded any more.

#include <memory>

#include "core/state.h"
#include "sys/archive.h"

namespace superd::handover::release_0_1_0 {

constexpr int kStateVersion = 2;

/// Its structs are arrays.
std::unique_ptr<sys::Positions> positions();
/// What its models remember is numbers in a row: gives each its name.
Result<void> name_memories(core::State& state);

}  // namespace superd::handover::release_0_1_0
