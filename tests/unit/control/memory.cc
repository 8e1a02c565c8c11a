// SPDX-License-Identifier: MIT
// Requests where memory ends: at each allocation, and from there on.
#include "catch.h"
#include "control/request.h"
#include "unit/control/operations.h"
#include "unit/memory_ends.h"

namespace superd::control::memory_tests {

TEST_CASE("a request for which there is no memory is not answered, and ends nothing else") {
    for (const char* request :
         {R"({"version":1,"verb":"status"})", R"({"version":1,"verb":"status","service":"echo"})",
          R"({"version":1,"verb":"list"})", R"({"version":1,"verb":"plan","more":[{"a":[1,{}]},"text",null]})",
          R"({"version":1,"verb":"reload"})", R"({"version":1,"verb":"kill","target":"echo","signal":"TERM"})",
          R"({"version":1,"verb":"explain","service":"echo","client":"127.0.0.1"})",
          R"({"version":1,"verb":"metrics"})", R"({"version":1,"verb":"security"})",
          R"({"version":1,"verb":"no such verb"})", R"([{"version":[[[1]]]}])", R"({"version":)"}) {
        int number = 0;
        for (bool answered = false; !answered; ++number) {
            Pretended superd;
            superd.refuses = number % 2 == 0;
            Answer got;
            try {
                const MemoryEnds ends(number);
                got = answer(superd, request, Rights::command);
                answered = true;
            } catch (const std::bad_alloc&) {
            }
            if (answered) CHECK(got.line.ends_with("}\n"));
        }
        CHECK(number > 1);
    }
}

}  // namespace superd::control::memory_tests
