// SPDX-License-Identifier: MIT
#pragma once
// JSON (RFC 8259) as text, without a tree: nlohmann::json needs memory to end an array or an object, and ends the
// program where there is none. Texts and fractions are that library's work; here are commas and brackets.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace superd {

/// A value that is written: null, true, a number, a string, an array or an object, which keeps the order of its
/// members.
class JsonText {
  public:
    struct Member;

    JsonText() : text_("null") {}
    template <std::same_as<bool> T>  // and no pointer
    JsonText(T value) : text_(value ? "true" : "false") {}
    template <std::integral T>
    requires(!std::same_as<T, bool> && !std::same_as<T, char>) JsonText(T value) : text_(std::to_string(value)) {}
    JsonText(double value);
    /// Bytes that are not UTF-8 become U+FFFD, so that a handler cannot break whoever reads it.
    JsonText(std::string_view value);
    JsonText(const std::string& value) : JsonText(std::string_view(value)) {}
    JsonText(const char* value) : JsonText(std::string_view(value)) {}
    /// nullopt is null.
    template <class T>
    JsonText(const std::optional<T>& value) : JsonText(value ? JsonText(*value) : JsonText()) {}
    template <class T>
    JsonText(const std::vector<T>& values) : JsonText(array()) {
        for (const T& value : values) push_back(value);
    }
    JsonText(std::initializer_list<Member> members);

    static JsonText array() { return JsonText("[]", 0); }
    static JsonText object() { return JsonText("{}", 0); }

    /// To an array.
    void push_back(const JsonText& value) { insert({&value.text_}); }
    /// To an object: a member, or another object's members. It has none of these names yet.
    void add(std::string_view name, const JsonText& value);
    void add(const JsonText& members);

    const std::string& text() const& { return text_; }
    std::string text() && { return std::move(text_); }

  private:
    JsonText(const char* text, int) : text_(text) {}
    void insert(std::initializer_list<const std::string*> parts);

    std::string text_;
};

struct JsonText::Member {
    std::string_view name;
    JsonText value;
};

/// A member that is read. monostate: null. OtherJson: an array, an object, or a number that is no int64_t.
struct OtherJson {
    auto operator<=>(const OtherJson&) const = default;
};
using JsonValue = std::variant<std::monostate, bool, std::int64_t, std::string, OtherJson>;
using JsonMembers = std::map<std::string, JsonValue, std::less<>>;

/// The members of an object, of two with one name the last. nullopt: it is not the text of one object.
std::optional<JsonMembers> read_json(std::string_view text);

}  // namespace superd
