// SPDX-License-Identifier: MIT
// fuzz-replay NAME FOLDER…: runs that fuzzer's function on each file of its corpus, without libFuzzer.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include "fuzz.h"

int main(int argc, char** argv) {
    const Fuzzer* fuzzer = Fuzzer::first;
    while (fuzzer != nullptr && (argc < 2 || std::string_view(argv[1]) != fuzzer->name)) fuzzer = fuzzer->next;
    if (fuzzer == nullptr) {
        std::fputs("no such fuzzer\n", stderr);
        return 2;
    }
    std::size_t count = 0;
    for (int i = 2; i < argc; ++i) {
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::ifstream file(entry.path(), std::ios::binary);
            const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
            fuzzer->function(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
            ++count;
        }
    }
    std::printf("%zu files\n", count);
    return count > 0 ? 0 : 1;
}
