// SPDX-License-Identifier: MIT
// A setting of a unit as a value of the key that is its counterpart, by the key's type.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using conf::Key;
using conf::Type;
using unit::Assignment;

bool carry_flag(const Assignment& one, const Key& key, Imported& out) {
    const auto flag = unit::boolean(one.value);
    if (flag && key.fallback != (*flag ? "true" : "false")) out.set(key.full_name(), *flag, one.at);
    return flag.has_value();
}

bool carry_number(const Assignment& one, const Key& key, Imported& out) {
    if (one.value == "infinity") return key.fallback.empty();
    std::int64_t value = 0;
    const char* end = one.value.data() + one.value.size();
    const auto [at, status] = std::from_chars(one.value.data(), end, value);
    if (status != std::errc{} || at != end) return false;
    out.set(key.full_name(), value, one.at);
    return true;
}

bool carry_span(const Assignment& one, const Key& key, Imported& out) {
    if (one.value == "infinity") return key.fallback.empty();
    const auto span = unit::time_span(one.value);
    if (span) out.set(key.full_name(), std::string_view(format_duration(*span)), one.at);
    return span.has_value();
}

bool carry_size(const Assignment& one, const Key& key, Imported& out) {
    if (one.value == "infinity") return key.fallback.empty();
    const auto bytes = parse_size(one.value);
    // superd wants a unit.
    if (bytes) out.set(key.full_name(), std::string_view(format_size((*bytes + 1023) / 1024 * 1024)), one.at);
    return bytes.has_value();
}

/// LimitNOFILE=1024:4096, LimitCORE=infinity, LimitAS=4G, LimitCPU=1min.
bool carry_limit(const Assignment& one, const Key& key, Imported& out) {
    const auto parts = split(one.value, ':');
    std::vector<std::string> values;
    for (const std::string_view part : parts) {
        const auto number = parse_size(part);
        const auto span = key.full_name() == "rlimits.cpu" ? unit::time_span(part) : std::nullopt;
        if (part == "infinity") {
            values.emplace_back("\"unlimited\"");
        } else if (span) {
            values.push_back(fmt::format("{}", std::max<Duration::rep>(1, span->count() / 1'000'000)));
        } else if (number && (key.shape.type == Type::size_limit || all_digits(part))) {
            values.push_back(fmt::format("{}", *number));
        } else {
            return false;
        }
    }
    if (values.size() > 2) return false;
    out.set_toml(key.full_name(), values.size() == 2 ? fmt::format("[{}, {}]", values[0], values[1]) : values[0],
                 one.at);
    return true;
}

}  // namespace

bool carry(const Assignment& one, const Key& key, Imported& out) {
    switch (key.shape.type) {
        case Type::boolean:
            return carry_flag(one, key, out);
        case Type::integer:
            return carry_number(one, key, out);
        case Type::duration:
        case Type::seconds:
            return carry_span(one, key, out);
        case Type::size:
            return carry_size(one, key, out);
        case Type::signal:
            out.set(key.full_name(), std::string_view(one.value).substr(one.value.starts_with("SIG") ? 3 : 0), one.at);
            return true;
        case Type::text:
        case Type::percent:
        case Type::octal:
        case Type::choice:
            out.set(key.full_name(), std::string_view(one.value), one.at);
            return true;
        case Type::count_limit:
        case Type::size_limit:
            return carry_limit(one, key, out);
        case Type::flag_or_word:
        case Type::flag_or_words:
        case Type::words:
        case Type::word_or_words:
        case Type::pairs:
        case Type::number:
        case Type::rate:
        case Type::prefixes:
        case Type::windows:
        case Type::tls_names:
            break;  // systemd writes these in ways of their own
    }
    return false;
}

}  // namespace superd::ctl::systemd
