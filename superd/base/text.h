// SPDX-License-Identifier: MIT
#pragma once
// Text as people write it and terminals show it: UTF-8, splitting, near misses, sizes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace superd {

/// The parts between separators, empty ones included; "" is one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);

/// "1 error", "2 errors": for words that take an s, and for "address".
std::string counted(std::size_t number, std::string_view word);

bool all_digits(std::string_view text);

/// Words between blanks (isspace(3) in the C locale, except newlines).
constexpr std::string_view kBlanks = " \t\r\f\v";
std::string_view trimmed(std::string_view text);

/// Reads "4096", "64K", "1M", "1G", "1T": powers of 1024. nullopt: anything else, or more than 2^63-1.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// The form that parse_size reads: "64K", "1000".
std::string format_size(std::uint64_t bytes);

/// Length in bytes of the UTF-8 sequence at the start of `text`; 0 where it is not valid (overlong and surrogates too).
std::size_t utf8_length(std::string_view text);
/// Offset of the first byte that is not valid UTF-8.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);
/// Characters (code points) in `text`; a byte that is not valid UTF-8 counts as one.
std::size_t count_characters(std::string_view text);

/// Safe to show on a terminal: control characters, line separators, bidirectional overrides and bytes that are
/// not UTF-8 become "\n", "\x1b", "\u202e"; the rest stays as it is.
std::string escape(std::string_view text);

/// How many insertions, deletions, replacements and swaps of neighbours turn one word into the other.
std::size_t edit_distance(std::string_view a, std::string_view b);
/// The most likely candidate, if one is near enough; ignores case.
std::optional<std::string> closest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace superd
