// SPDX-License-Identifier: MIT
#include "conf/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace superd::conf {

namespace {

// Both lines at once: how the first shows a character decides how wide it must be in the second.
void append_source(std::string& out, const Place& place) {
    std::string shown, caret;
    std::string_view rest = place.source;
    for (int column = 1; !rest.empty(); ++column) {
        const std::string_view character = rest.substr(0, std::max<std::size_t>(1, utf8_length(rest)));
        const bool marked = column >= place.column && column < place.column + place.length;
        if (character == "\t") {
            shown += '\t';
            // A tab under a tab keeps what follows aligned.
            caret += column == place.column ? '^' : '\t';
        } else {
            const std::string text = escape(character);
            shown += text;
            caret.append(count_characters(text), marked ? '^' : ' ');
        }
        rest.remove_prefix(character.size());
    }
    // The end of a line is a place too: something may be missing there.
    if (const auto end = static_cast<int>(count_characters(place.source)); place.column > end) caret += '^';
    caret.erase(caret.find_last_of('^') + 1);
    const std::string number = fmt::format("{:>5}", place.line);
    out += fmt::format("{} | {}\n{:{}} | {}\n", number, shown, "", number.size(), caret);
}

}  // namespace

void sort(Diagnostics& diagnostics) {
    const auto key = [](const Diagnostic& d) {
        return std::tie(d.place.file, d.place.line, d.place.column, d.message);
    };
    std::ranges::stable_sort(diagnostics, {}, key);
    diagnostics.erase(std::ranges::unique(diagnostics, {}, key).begin(), diagnostics.end());
}

std::string format(const Diagnostic& diagnostic) {
    const Place& place = diagnostic.place;
    std::string out = escape(place.file);
    if (place.line > 0) out += fmt::format(":{}:{}", place.line, place.column);
    out += fmt::format(": {}: {}\n", diagnostic.warning ? "warning" : "error", escape(diagnostic.message));
    if (place.line > 0 && !place.source.empty()) append_source(out, place);
    return out;
}

std::string format(const Diagnostics& diagnostics) {
    std::string out;
    for (const Diagnostic& diagnostic : diagnostics) out += format(diagnostic);
    return out;
}

}  // namespace superd::conf
