// SPDX-License-Identifier: MIT
#include "ctl/table.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/text.h"

namespace superd::ctl {
namespace {

constexpr std::size_t kGap = 2;

struct Layout {
    std::vector<std::size_t> shown;  ///< indices of columns
    std::vector<std::size_t> width;  ///< of each column, shown or not
    std::size_t total() const {
        std::size_t sum = shown.empty() ? 0 : (shown.size() - 1) * kGap;
        for (const std::size_t column : shown) sum += width[column];
        return sum;
    }
};

/// Takes width from the widest column that may still be cut, until all fit. False: they do not.
bool squeeze(const std::vector<Column>& columns, Layout& layout, std::size_t width) {
    while (layout.total() > width) {
        std::size_t* widest = nullptr;
        for (const std::size_t i : layout.shown) {
            const bool may =
                columns[i].least > 0 && layout.width[i] > std::max(columns[i].least, columns[i].title.size());
            if (may && (widest == nullptr || layout.width[i] > *widest)) widest = &layout.width[i];
        }
        if (widest == nullptr) return false;
        --*widest;
    }
    return true;
}

Layout lay_out(const std::vector<Column>& columns, std::vector<std::size_t> natural, const Terminal& terminal) {
    Layout layout;
    for (std::size_t i = 0; i < columns.size(); ++i) layout.shown.push_back(i);
    layout.width = natural;
    while (terminal.width && !squeeze(columns, layout, *terminal.width)) {
        const auto first = std::ranges::max_element(layout.shown, {}, [&](std::size_t i) { return columns[i].spare; });
        if (columns[*first].spare == 0) break;
        layout.shown.erase(first);
        layout.width = natural;
    }
    return layout;
}

}  // namespace

Terminal Terminal::of_stdout() {
    Terminal terminal;
    if (!isatty(STDOUT_FILENO)) return terminal;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.width = size.ws_col;
    const char* none = std::getenv("NO_COLOR");
    const char* kind = std::getenv("TERM");
    terminal.colour = (none == nullptr || *none == 0) && kind != nullptr && std::string_view(kind) != "dumb";
    return terminal;
}

std::string painted(const std::string& text, Colour colour, bool colours) {
    static constexpr const char* kCodes[] = {"", "32", "33", "31", "2"};
    const char* code = kCodes[static_cast<int>(colour)];
    return !colours || *code == 0 || text.empty() ? text : fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string cut(const std::string& text, std::size_t width) {
    if (count_characters(text) <= width) return text;
    if (width == 0) return "";
    std::string_view rest = text;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i + 1 < width; ++i) {
        const std::size_t length = std::max<std::size_t>(1, utf8_length(rest));
        bytes += length;
        rest.remove_prefix(length);
    }
    return text.substr(0, bytes) + "…";
}

std::string format_table(const std::vector<Column>& columns, const std::vector<Row>& rows, const Terminal& terminal) {
    std::vector<std::size_t> natural;
    for (const Column& column : columns) natural.push_back(column.title.size());
    std::vector<std::vector<std::string>> texts;
    for (const Row& row : rows) {
        auto& line = texts.emplace_back();
        for (std::size_t i = 0; i < columns.size(); ++i) {
            line.push_back(escape(row[i].text));
            natural[i] = std::max(natural[i], count_characters(line.back()));
        }
    }
    const Layout layout = lay_out(columns, natural, terminal);
    std::string out;
    const auto add = [&](std::size_t column, std::string text, Colour colour) {
        text = cut(text, layout.width[column]);
        const std::size_t pad = layout.width[column] - count_characters(text);
        const bool last = column == layout.shown.back();
        if (columns[column].right) out.append(pad, ' ');
        out += painted(text, colour, terminal.colour);
        if (!columns[column].right && !last) out.append(pad, ' ');
        if (last) {
            out.erase(out.find_last_not_of(' ') + 1);
            out += '\n';
        } else {
            out.append(kGap, ' ');
        }
    };
    for (const std::size_t i : layout.shown) add(i, columns[i].title, Colour::dim);
    for (std::size_t row = 0; row < rows.size(); ++row)
        for (const std::size_t i : layout.shown) add(i, texts[row][i], rows[row][i].colour);
    return out;
}

std::string brief_duration(double seconds) {
    if (seconds < 0.001) return fmt::format("{:.0f}µs", seconds * 1e6);
    if (seconds < 0.01) return fmt::format("{:.1f}ms", seconds * 1e3);
    if (seconds < 1) return fmt::format("{:.0f}ms", seconds * 1e3);
    if (seconds < 10) return fmt::format("{:.1f}s", seconds);
    const auto whole = static_cast<long>(seconds);
    if (whole < 60) return fmt::format("{}s", whole);
    if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
    if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
    if (whole < 100 * 86400) return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
    return fmt::format("{}d", whole / 86400);
}

std::string brief_size(double bytes) {
    const char* unit = "BKMGT";
    while (bytes >= 1024 && unit[1] != 0) {
        bytes /= 1024;
        ++unit;
    }
    return *unit == 'B' || bytes >= 10 ? fmt::format("{:.0f}{}", bytes, *unit) : fmt::format("{:.1f}{}", bytes, *unit);
}

}  // namespace superd::ctl
