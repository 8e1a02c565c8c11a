// SPDX-License-Identifier: MIT
// Any bytes as a request of the control protocol: the answer is one line of JSON that says whether it is valid, and a
// reader changes nothing.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "control/request.h"
#include "fuzz.h"
#include "tests/unit/control/operations.h"

FUZZ(control)(const std::uint8_t* data, std::size_t size) {
    using namespace superd::control;
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    for (const Rights rights : {Rights::look, Rights::command}) {
        Pretended superd;
        superd.refuses = size % 2 == 1;
        const Answer got = answer(superd, line, rights);
        if (got.line.find('\n') != got.line.size() - 1) std::abort();
        const auto parsed = nlohmann::json::parse(got.line, nullptr, false);
        if (!parsed.is_object() || !parsed["ok"].is_boolean() || parsed["version"] != 1) std::abort();
        if (rights == Rights::look && (!superd.done.empty() || !superd.held.empty() || got.command)) std::abort();
    }
    return 0;
}
