// SPDX-License-Identifier: MIT
#pragma once
// Text for pages. Names, addresses and reasons are others' words: nothing of them gets into a page but through
// escape().

#include <string>
#include <string_view>

namespace status {

/// For HTML, between tags and in quoted attributes. What is not UTF-8, and control characters, become U+FFFD.
std::string escape(std::string_view text);
/// For a segment of a path.
std::string percent_encode(std::string_view text);

/// "34ms", "2h05m", as superctl writes them.
std::string brief_duration(double seconds);
std::string brief_size(double bytes);
/// "0", "0.3", "12": of something in a second.
std::string brief_rate(double rate);
/// "1 service", "2 services".
std::string counted(double count, std::string_view what);

}  // namespace status
