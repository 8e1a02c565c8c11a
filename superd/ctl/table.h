// SPDX-License-Identifier: MIT
#pragma once
// Tables for people, as wide as the terminal.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace superd::ctl {

/// The kind of stdout.
struct Terminal {
    bool colour = false;               ///< a terminal, and NO_COLOR does not forbid it
    std::optional<std::size_t> width;  ///< columns; nullopt: not a terminal, so nothing is cut
    static Terminal of_stdout();
};

enum class Colour { plain, good, notice, bad, dim };
/// `text` in a colour, if colours are on. Nothing else may add escapes to the output.
std::string painted(const std::string& text, Colour colour, bool colours);

struct Column {
    std::string title;
    bool right = false;
    std::size_t least = 0;  ///< width down to which it may be cut; 0: never
    int spare = 0;          ///< the highest is left out first; 0: never
};

struct Cell {
    Cell(std::string t, Colour c = Colour::plain) : text(std::move(t)), colour(c) {}
    Cell(const char* t) : text(t) {}
    std::string text;  ///< shown escaped
    Colour colour = Colour::plain;
};

using Row = std::vector<Cell>;

/// Complete lines, titles first. If the terminal is too narrow, columns are first cut down to their least width and
/// then left out.
std::string format_table(const std::vector<Column>& columns, const std::vector<Row>& rows, const Terminal& terminal);

/// Cuts `text` to this many columns; the last one is "…" if anything is missing. `text` is escaped already.
std::string cut(const std::string& text, std::size_t width);

/// "8ms", "1.2s", "3m05s", "2h10m", "12d03h"; for people, never longer than 6 characters.
std::string brief_duration(double seconds);
/// "512B", "3.4M".
std::string brief_size(double bytes);

}  // namespace superd::ctl
