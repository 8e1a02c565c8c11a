// SPDX-License-Identifier: MIT
#pragma once
// The text of a file as a tree of values; each value knows its place.

#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "conf/diagnostic.h"

namespace superd::conf::toml {

/// A file's text. Values point into it, so it must outlive them and must not move.
class Source {
  public:
    Source(std::string file, std::string text);
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    const std::string& file() const { return file_; }
    const std::string& text() const { return text_; }
    /// Counted from 1; without its newline; empty past the last one.
    std::string_view line(int number) const;

  private:
    std::string file_, text_;
    std::vector<std::string_view> lines_;
};

/// A place that is cheap to keep with each value.
struct Spot {
    const Source* source = nullptr;
    int line = 0, column = 0, length = 1;
    Place place() const;
};

enum class Kind { table, array, string, integer, real, boolean, date };
/// "a table", "an integer": for messages.
const char* name_of(Kind kind);

struct Entry;

struct Value {
    Spot spot;
    Kind kind = Kind::table;
    bool octal = false;  ///< an integer written as 0o…
    bool boolean = false;
    std::int64_t integer = 0;
    double real = 0;
    std::string text;
    std::vector<Value> items;
    std::map<std::string, Entry, std::less<>> entries;

    /// A table's value, or nullptr.
    const Value* find(std::string_view name) const;
};

struct Entry {
    Spot key;
    Value value;
};

/// The tree, or the one error that keeps the text from being read.
std::expected<Value, Diagnostic> parse(const Source& source);

/// Merges `over` into `base`: tables deeply; anything else replaces the old value.
void merge(Value& base, Value over);

}  // namespace superd::conf::toml
