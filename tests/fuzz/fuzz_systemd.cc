// SPDX-License-Identifier: MIT
// A socket, its service and a drop-in for each, separated by lines "---", from their text to the definitions.
#include "fit_imported.h"
#include "fuzz.h"

FUZZ(systemd)(const std::uint8_t* data, std::size_t size) {
    using namespace superd::ctl;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view mark = "\n---\n";
    const auto next = [&] {
        const std::size_t end = text.find(mark);
        const std::string part(text.substr(0, end));
        text.remove_prefix(end != std::string_view::npos ? end + mark.size() : text.size());
        return part;
    };
    Units units;
    units.files["a.socket"] = {"/u/a.socket", next()};
    const std::string service = next();
    for (const char* name : {"a.service", "a@.service"}) units.files[name] = {std::string("/u/") + name, service};
    units.drop_ins["a.socket"] = {{"/u/a.socket.d/x.conf", next()}};
    units.drop_ins["a.service"] = {{"/u/a.service.d/x.conf", next()}};
    fit_imported(import_systemd(units));
    return 0;
}
