// SPDX-License-Identifier: MIT
// The state that an upgrade hands over. What can be read is written and read again unchanged.
#include <cstdlib>

#include "fuzz.h"
#include "handover/text.h"

FUZZ(state)(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    const auto state = handover::read_state({reinterpret_cast<const char*>(data), size});
    if (!state) {
        if (state.error().text.empty()) abort();
        return 0;
    }
    std::string last = handover::write_state(*state);
    // What the models of 0.1.0 have written has its fields in an order of its own the first time.
    for (const bool first : {true, false}) {
        const auto again = handover::read_state(last);
        std::string text = again ? handover::write_state(*again) : "";
        if (first ? text.size() != last.size() : text != last) abort();
        last = std::move(text);
    }
    return 0;
}
