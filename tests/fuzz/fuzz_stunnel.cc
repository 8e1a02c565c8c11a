// SPDX-License-Identifier: MIT
// stunnel.conf, from its text to the definitions. The text after a line "---" is in each included file.
#include "fit_imported.h"
#include "fuzz.h"

FUZZ(stunnel)(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view mark = "\n---\n";
    const std::size_t end = text.find(mark);
    const std::string included(end != std::string_view::npos ? text.substr(end + mark.size()) : "");
    int files = 0;  // a folder that includes itself is cut off late
    ctl::Machine machine = ctl::no_machine();
    machine.read = [&](const std::string&) -> Result<std::string> {
        return ++files < 20 ? Result<std::string>(included) : fail("no more");
    };
    machine.list = [](const std::string&) -> Result<std::vector<std::string>> {
        return std::vector<std::string>{"a", "b.conf"};
    };
    ctl::fit_imported(ctl::import_stunnel("stunnel.conf", text.substr(0, end), machine));
    return 0;
}
