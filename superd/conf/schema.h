// SPDX-License-Identifier: MIT
#pragma once
// The one table of all keys: parser, manual, README, JSON Schema, importers and plan use it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/service.h"

namespace superd::conf {

enum class Type {
    text,           ///< min..max: bytes
    words,          ///< array of strings
    word_or_words,  ///< a string or an array of them
    pairs,          ///< table of strings
    boolean,
    flag_or_word,   ///< number: index in choices, whose first two are false and true
    flag_or_words,  ///< true, false or an array of strings
    integer,        ///< min..max
    duration,       ///< min..max: microseconds
    seconds,        ///< the same, but whole seconds
    size,           ///< min..max: bytes
    percent,        ///< "50%"; min..max
    octal,          ///< min..max
    choice,         ///< number: index in choices
    signal,         ///< number
    count_limit,    ///< a resource limit: number, [soft, hard], "unlimited"
    size_limit,     ///< the same in bytes, sizes such as "64K" too
    number,         ///< above 0, whole or not
    rate,           ///< "100/s"; number: its interval in microseconds
    prefixes,       ///< a string or an array of them
    windows,        ///< the same: times of the week
    tls_names,      ///< array of tables: names, certificate, key
};

/// What a value must be.
struct Shape {
    Type type = Type::text;
    std::int64_t min = 0, max = 0;
    std::vector<std::string> choices = {};
};

/// A value after reading; its key's type decides which members count.
struct Reading {
    std::string text;
    std::int64_t number = 0;
    bool flag = false;
    rlim_t soft = 0, hard = 0;
    double real = 0;
    Rate rate;
    std::vector<sys::Prefix> prefixes;
    std::vector<TimeWindow> windows;
};

/// Where a key has a counterpart: xinetd.conf(5); systemd.socket(5); systemd.exec(5), .service(5) and .kill(5).
enum class Elsewhere { xinetd, socket_unit, service_unit };

struct Counterpart {
    Elsewhere where = Elsewhere::xinetd;
    std::string name;
};

struct Key {
    std::string section;  ///< empty: at the top of the file
    std::string name;
    Shape shape;
    std::string fallback = {};                ///< the default, as a person would write it; empty: none
    std::string description = {};             ///< one line, without a full stop
    std::vector<Counterpart> elsewhere = {};  ///< an unknown key with one of these names gets this key as a hint
    bool required = false;
    bool per_service = false;  ///< makes no sense in [defaults]
    /// nullptr: validate() resolves this key together with others.
    void (*apply)(Service&, const Reading&) = nullptr;
    bool (*same)(const Service&, const Service&) = nullptr;

    /// "limits.instances"
    std::string full_name() const { return section.empty() ? name : section + "." + name; }
};

const std::vector<Key>& keys();
/// nullptr: no such key.
const Key* find_key(std::string_view section, std::string_view name);
bool is_section(std::string_view name);
/// The first key with that counterpart; nullptr: none.
const Key* find_counterpart(Elsewhere where, std::string_view name);

}  // namespace superd::conf
