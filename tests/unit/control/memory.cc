// SPDX-License-Identifier: MIT
// Requests where memory ends: at each allocation, and from there on.
#include <cstdlib>
#include <new>

#include "catch.h"
#include "control/request.h"
#include "unit/control/operations.h"

namespace {

bool ends = false;
int left = 0;  ///< allocations that succeed, then none does

}  // namespace

void* operator new(std::size_t size) {
    if (ends && left-- <= 0) throw std::bad_alloc();
    void* memory = std::malloc(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return ends && left-- <= 0 ? nullptr : std::malloc(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

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
            left = number;
            ends = true;
            try {
                got = answer(superd, request, Rights::command);
                answered = true;
            } catch (const std::bad_alloc&) {
            }
            ends = false;
            if (answered) CHECK(got.line.ends_with("}\n"));
        }
        CHECK(number > 1);
    }
}

}  // namespace superd::control::memory_tests
