// SPDX-License-Identifier: MIT
#include "handover/text.h"

#include <fmt/format.h>

#include "handover/fields.h"
#include "handover/release_0_1_0.h"

namespace superd::handover {
namespace {

/// The part that all versions share.
struct Opening {
    std::optional<int> superd;
};
SUPERD_FIELDS(Opening, superd)

struct Whole {
    int superd = kStateVersion;
    core::State state;
};
SUPERD_FIELDS(Whole, superd, state)

}  // namespace

std::string write_state(core::State state) {
    sys::Archive archive;
    Whole whole{kStateVersion, std::move(state)};
    archive(whole);
    return std::move(archive).text();
}

Result<core::State> read_state(std::string_view text) {
    Opening opening;
    sys::Archive archive(text);
    archive(opening);
    if (!archive.fault().empty() || !opening.superd) return fail("this is not the state of a superd");
    const bool is_0_1_0 = *opening.superd == release_0_1_0::kStateVersion;
    if (!is_0_1_0 && *opening.superd != kStateVersion)
        return fail(
            fmt::format("the running superd writes state of version {}, superd {} reads version {} and, of 0.1.0, {}",
                        *opening.superd, SUPERD_VERSION, kStateVersion, release_0_1_0::kStateVersion));
    const auto positions = release_0_1_0::positions();
    if (is_0_1_0) archive.read_by(*positions);
    Whole whole;
    archive(whole);
    if (!archive.fault().empty()) return fail(fmt::format("the state cannot be read: {}", archive.fault()));
    if (is_0_1_0)
        if (auto named = release_0_1_0::name_memories(whole.state); !named) return std::unexpected(named.error());
    return std::move(whole.state);
}

std::string describe_state() {
    auto archive = sys::Archive::describing();
    core::State state;
    archive(state);
    return archive.description();
}

}  // namespace superd::handover
