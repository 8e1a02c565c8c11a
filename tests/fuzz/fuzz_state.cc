// SPDX-License-Identifier: MIT
// The state that an upgrade hands over. What can be read is written and read again without a change.
#include <cstdlib>

#include "core/state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    const auto state = core::read_state({reinterpret_cast<const char*>(data), size});
    if (!state) {
        if (state.error().text.empty()) abort();
        return 0;
    }
    const std::string once = core::write_state(*state);
    const auto again = core::read_state(once);
    if (!again || core::write_state(*again) != once) abort();
    return 0;
}
