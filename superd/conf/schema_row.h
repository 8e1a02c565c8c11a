// SPDX-License-Identifier: MIT
#pragma once
// The vocabulary of the table in schema.cc: a line gives the key's name, shape, meaning and member, and the rest
// follows from the member.

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "base/signal.h"
#include "base/text.h"
#include "conf/schema.h"

namespace superd::conf::rows {

using namespace std::chrono_literals;

constexpr Duration day = 24h;

template <class T>
struct Inner {
    using Type = T;
};
template <class T>
struct Inner<std::optional<T>> {
    using Type = T;
};
template <class T>
constexpr bool is_optional = !std::is_same_v<T, typename Inner<T>::Type>;

template <class T>
void assign(T& field, const Reading& value) {
    if constexpr (is_optional<T>) {
        assign(field.emplace(), value);
    } else if constexpr (std::is_same_v<T, std::string>) {
        field = value.text;
    } else if constexpr (std::is_same_v<T, bool>) {
        field = value.flag;
    } else if constexpr (std::is_same_v<T, Duration>) {
        field = Duration(value.number);
    } else if constexpr (std::is_same_v<T, double>) {
        field = value.real;
    } else if constexpr (std::is_same_v<T, Rate>) {
        field = value.rate;
    } else if constexpr (std::is_same_v<T, std::vector<sys::Prefix>>) {
        field = value.prefixes;
    } else if constexpr (std::is_same_v<T, std::vector<TimeWindow>>) {
        field = value.windows;
    } else {
        field = static_cast<T>(value.number);
    }
}

/// The shape, where a member's type leaves no choice.
template <class T>
Shape shape_of() {
    if constexpr (std::is_same_v<T, bool>) {
        return {Type::boolean};
    } else if constexpr (std::is_same_v<T, double>) {
        return {Type::number};
    } else if constexpr (std::is_same_v<T, Rate>) {
        return {Type::rate};
    } else if constexpr (std::is_same_v<T, std::vector<sys::Prefix>>) {
        return {Type::prefixes};
    } else if constexpr (std::is_same_v<T, std::vector<TimeWindow>>) {
        return {Type::windows};
    } else {
        const auto names = names_of(T{});
        return {Type::choice, 0, 0, {names.begin(), names.end()}};
    }
}

/// In the largest unit that gives a whole number.
inline std::string rate_text(Duration interval) {
    constexpr std::pair<Duration, char> units[] = {{1s, 's'}, {1min, 'm'}, {1h, 'h'}, {day, 'd'}};
    for (const auto& [unit, name] : units) {
        if (interval <= unit) return fmt::format("{}/{}", unit / interval, name);
    }
    return "";
}

/// A member's default as a person would write it; empty: none.
template <class T>
std::string text_of(const T& value, Type type) {
    if constexpr (is_optional<T>) {
        return value ? text_of(*value, type) : "";
    } else if constexpr (std::is_same_v<T, std::string>) {
        return value;
    } else if constexpr (std::is_same_v<T, bool>) {
        return value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, Duration>) {
        return type == Type::rate ? rate_text(value) : format_duration(value);
    } else if constexpr (Named<T>) {
        return name_of(value);
    } else if constexpr (std::is_integral_v<T>) {
        if (type == Type::signal) return signal_name(static_cast<int>(value)).substr(3);
        if (type == Type::size) return format_size(static_cast<std::uint64_t>(value));
        return type == Type::octal ? fmt::format("{:03o}", value) : fmt::format("{}", value);
    } else {
        return "";
    }
}

/// A line of the table.
struct Row : Key {
    Row must_be_given() && {
        required = true;
        fallback.clear();
        return std::move(*this);
    }
    Row of_one_service() && {
        per_service = true;
        return std::move(*this);
    }
    Row by_default(const char* text) && {
        fallback = text;
        return std::move(*this);
    }
    Row xinetd(std::initializer_list<const char*> names) && { return counterparts(Elsewhere::xinetd, names); }
    Row socket_unit(std::initializer_list<const char*> names) && { return counterparts(Elsewhere::socket_unit, names); }
    Row service_unit(std::initializer_list<const char*> names) && {
        return counterparts(Elsewhere::service_unit, names);
    }

  private:
    Row counterparts(Elsewhere where, std::initializer_list<const char*> names) {
        for (const char* one : names) elsewhere.push_back({where, one});
        return std::move(*this);
    }
};

inline Row row(const char* name, Shape shape, const char* description) {
    Row key;
    key.name = name;
    key.shape = std::move(shape);
    key.description = description;
    return key;
}

/// A key that sets one member, which `Get` names. Its default is the member's.
template <class Get>
Row field(const char* name, Shape shape, const char* description, Get) {
    Row key = row(name, std::move(shape), description);
    const Service plain;
    key.fallback = text_of(Get{}(plain), key.shape.type);
    key.apply = [](Service& service, const Reading& value) { assign(Get{}(service), value); };
    key.same = [](const Service& a, const Service& b) { return Get{}(a) == Get{}(b); };
    return key;
}
template <class Get>
Row field(const char* name, const char* description, Get get) {
    using T = std::remove_cvref_t<decltype(get(std::declval<Service&>()))>;
    return field(name, shape_of<typename Inner<T>::Type>(), description, get);
}

/// A key that validate() resolves; `Get` gives the result.
template <class Get>
Row resolved(const char* name, Shape shape, const char* description, Get) {
    Row key = row(name, std::move(shape), description);
    key.same = [](const Service& a, const Service& b) { return Get{}(a) == Get{}(b); };
    return key;
}

template <int resource>
Row rlimit(const char* name, Type type, const char* description) {
    Row key = row(name, {type}, description);
    key.apply = [](Service& service, const Reading& value) {
        service.handler.rlimits.push_back({resource, value.soft, value.hard});
    };
    key.same = [](const Service& a, const Service& b) {
        const auto of = [](const Service& service) {
            const auto& all = service.handler.rlimits;
            const auto found = std::ranges::find(all, resource, &ResourceLimit::resource);
            return found != all.end() ? std::optional(*found) : std::nullopt;
        };
        return of(a) == of(b);
    };
    return key;
}

template <auto member>
Row rate(const char* name, const char* description) {
    Row key = row(name, {Type::rate}, description);
    key.apply = [](Service& service, const Reading& value) { (*service.limits).*member = value.rate; };
    key.same = [](const Service& a, const Service& b) {
        const auto interval = [](const std::optional<Rate>& rate) { return rate ? rate->interval : Duration(0); };
        return interval((*a.limits).*member) == interval((*b.limits).*member);
    };
    return key;
}

/// validate() puts it into the rate; without a rate, bursts do not differ.
template <auto member>
Row burst(const char* name, Shape shape, const char* description) {
    Row key = row(name, std::move(shape), description);
    key.same = [](const Service& a, const Service& b) {
        const auto &x = (*a.limits).*member, &y = (*b.limits).*member;
        return !x || !y || x->burst == y->burst;
    };
    return key;
}

inline Shape text(std::int64_t min, std::int64_t max) {
    return {Type::text, min, max};
}
inline Shape integer(std::int64_t min, std::int64_t max) {
    return {Type::integer, min, max};
}
/// false, true or a word: of an enum whose first two names are these.
template <Named Word>
Shape flag_or() {
    const auto names = names_of(Word{});
    return {Type::flag_or_word, 0, 0, {names.begin(), names.end()}};
}
inline Shape octal() {
    return {Type::octal, 0, 0777};
}
inline Shape size(std::int64_t min, std::int64_t max) {
    return {Type::size, min, max};
}
inline Shape percent(std::int64_t min, std::int64_t max) {
    return {Type::percent, min, max};
}
inline Shape duration(Duration min, Duration max) {
    return {Type::duration, min.count(), max.count()};
}
inline Shape seconds(Duration min, Duration max) {
    return {Type::seconds, min.count(), max.count()};
}

}  // namespace superd::conf::rows
