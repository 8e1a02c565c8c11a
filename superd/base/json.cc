// SPDX-License-Identifier: MIT
#include "base/json.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace superd {
namespace {

/// Takes the members of the outermost object; of what is inside them it only counts the depth.
class MemberReader final : public nlohmann::json_sax<nlohmann::json> {
  public:
    JsonMembers members;

    bool null() override { return take(std::monostate()); }
    bool boolean(bool value) override { return take(value); }
    bool number_integer(std::int64_t value) override { return take(value); }
    bool number_unsigned(std::uint64_t value) override {
        if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return take(OtherJson());
        return take(static_cast<std::int64_t>(value));
    }
    bool number_float(double, const std::string&) override { return take(OtherJson()); }
    bool string(std::string& value) override { return take(std::move(value)); }
    bool binary(nlohmann::json::binary_t&) override { return false; }
    bool start_object(std::size_t) override { return depth_ == 0 ? begin() : take(OtherJson()) && begin(); }
    bool key(std::string& name) override {
        if (depth_ == 1) name_ = std::move(name);
        return true;
    }
    bool end_object() override { return end(); }
    bool start_array(std::size_t) override { return take(OtherJson()) && begin(); }
    bool end_array() override { return end(); }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }

  private:
    bool begin() {
        ++depth_;
        return true;
    }
    bool end() {
        --depth_;
        return true;
    }
    /// False: what is outermost is no object.
    bool take(JsonValue value) {
        if (depth_ == 1) members[name_] = std::move(value);
        return depth_ > 0;
    }

    std::string name_;
    std::size_t depth_ = 0;
};

}  // namespace

JsonText::JsonText(double value) : text_(nlohmann::json(value).dump()) {}

JsonText::JsonText(std::string_view value)
    : text_(nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {}

JsonText::JsonText(std::initializer_list<Member> members) : JsonText(object()) {
    for (const Member& member : members) add(member.name, member.value);
}

void JsonText::add(std::string_view name, const JsonText& value) {
    const std::string quoted = JsonText(name).text() + ":";
    insert({&quoted, &value.text_});
}

void JsonText::add(const JsonText& members) {
    if (members.text_ == "{}") return;
    const std::string inner = members.text_.substr(1, members.text_.size() - 2);
    insert({&inner});
}

/// Before the closing bracket, with a comma if something is before it.
void JsonText::insert(std::initializer_list<const std::string*> parts) {
    const char closing = text_.back();
    text_.pop_back();
    if (text_.size() > 1) text_ += ',';
    for (const std::string* part : parts) text_ += *part;
    text_ += closing;
}

std::optional<JsonMembers> read_json(std::string_view text) {
    MemberReader reader;
    if (!nlohmann::json::sax_parse(text, &reader)) return std::nullopt;
    return std::move(reader.members);
}

}  // namespace superd
