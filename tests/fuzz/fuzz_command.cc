// SPDX-License-Identifier: MIT
// Command lines of other servers, one word on each line. The text after a line "---" is in each file of rules.
#include "base/text.h"
#include "fit_imported.h"
#include "fuzz.h"

FUZZ(command)(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view mark = "\n---\n";
    const std::size_t end = text.find(mark);
    const std::string rules(end != std::string_view::npos ? text.substr(end + mark.size()) : "");
    ctl::Machine machine = ctl::no_machine();
    machine.read = [&](const std::string&) -> Result<std::string> { return rules; };
    machine.list = [](const std::string&) -> Result<std::vector<std::string>> {
        return std::vector<std::string>{"0", "10.1", "host.example"};
    };
    std::vector<std::string> words;
    for (const std::string_view word : split(text.substr(0, end), '\n')) words.emplace_back(word);
    ctl::fit_imported(ctl::import_command(words, machine));
    return 0;
}
