// SPDX-License-Identifier: MIT
// inetd.conf, from its text to the definitions, in the dialect that its length picks. The text after a line "---" is in
// each included file.
#include "fit_imported.h"
#include "fuzz.h"

FUZZ(inetd)(const std::uint8_t* data, std::size_t size) {
    using namespace superd;
    using ctl::Dialect;
    constexpr Dialect dialects[] = {Dialect::bsd, Dialect::openbsd, Dialect::netbsd, Dialect::freebsd, Dialect::gnu};
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view mark = "\n---\n";
    const std::size_t end = text.find(mark);
    const std::string included(end != std::string_view::npos ? text.substr(end + mark.size()) : "");
    int files = 0;
    ctl::Machine machine = ctl::no_machine();
    machine.read = [&](const std::string&) -> Result<std::string> {
        return ++files < 20 ? Result<std::string>(included) : fail("no more");
    };
    machine.list = [](const std::string&) -> Result<std::vector<std::string>> {
        return std::vector<std::string>{"a", "b.conf"};
    };
    const std::size_t pick = size % 6;
    ctl::fit_imported(ctl::import_inetd("inetd.conf", text.substr(0, end), machine,
                                        pick < 5 ? std::optional(dialects[pick]) : std::nullopt));
    return 0;
}
