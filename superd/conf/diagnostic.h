// SPDX-License-Identifier: MIT
#pragma once
// What is wrong in a definition file, and where, for the person who has to fix it.

#include <string>
#include <vector>

namespace superd::conf {

/// A place in a file. line 0: the file as a whole.
struct Place {
    std::string file;
    int line = 0;        ///< from 1
    int column = 0;      ///< from 1, in characters
    int length = 1;      ///< characters to underline, at least 1, never past the end of the line
    std::string source;  ///< the line itself, without its newline; empty if it is too long to show
};

struct Diagnostic {
    Place place;
    std::string message;
    bool warning = false;  ///< true: it may work, but probably does not
    bool local = false;    ///< true: this machine lacks it, or superd's user may not do it; it may be right elsewhere
};

/// All findings, in file and line order once sorted.
using Diagnostics = std::vector<Diagnostic>;

/// Sorts by file, line and column, and removes duplicates (of a default that many services share).
void sort(Diagnostics& diagnostics);

/// "FILE:LINE:COL: error: MESSAGE", or "warning:", then the source line and its caret, with control characters escaped.
/// Each line ends with a newline.
std::string format(const Diagnostic& diagnostic);
std::string format(const Diagnostics& diagnostics);

}  // namespace superd::conf
