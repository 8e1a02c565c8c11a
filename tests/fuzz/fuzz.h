// SPDX-License-Identifier: MIT
#pragma once
// FUZZ(NAME)(const std::uint8_t* data, std::size_t size) {…} is what libFuzzer calls where it is there. Elsewhere it is
// one of many in the program that replays their corpora. NAME is that of the file and of the corpus.

#include <cstddef>
#include <cstdint>

#ifdef SUPERD_FUZZ_REPLAY
struct Fuzzer {
    using Function = int(const std::uint8_t* data, std::size_t size);
    Fuzzer(const char* of, Function* what) : name(of), function(what), next(first) { first = this; }
    const char* name;
    Function* function;
    const Fuzzer* next;
    static inline const Fuzzer* first = nullptr;
};
#define FUZZ(name)                                         \
    static Fuzzer::Function fuzz_##name;                   \
    static const Fuzzer fuzzer_##name(#name, fuzz_##name); \
    static int fuzz_##name
#else
#define FUZZ(name) extern "C" int LLVMFuzzerTestOneInput
#endif
