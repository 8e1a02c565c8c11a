// SPDX-License-Identifier: MIT
// One value against its key's shape: type, form, range.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/signal.h"
#include "base/text.h"
#include "conf/read.h"
#include "conf/time_window.h"

namespace superd::conf {

namespace {

using toml::Kind;
using toml::Value;

class Reader {
  public:
    Reader(const Key& key, Reading& out, Diagnostics& errors)
        : name_(key.full_name()), shape_(key.shape), out_(out), errors_(errors) {}

    bool read(const Value& value) {
        switch (shape_.type) {
            case Type::text:
                return text(value);
            case Type::words:
                return words(value, false);
            case Type::word_or_words:
                return words(value, true);
            case Type::pairs:
                return pairs(value);
            case Type::boolean:
                return boolean(value);
            case Type::flag_or_word:
                return flag_or_word(value);
            case Type::flag_or_words:
                if (value.kind != Kind::boolean && value.kind != Kind::array)
                    return mistyped(value, "true, false or an array of strings");
                return value.kind == Kind::boolean ? boolean(value) : words(value, false);
            case Type::integer:
                return integer(value);
            case Type::duration:
            case Type::seconds:
                return duration(value);
            case Type::size:
                return size(value);
            case Type::percent:
                return percent(value);
            case Type::octal:
                return octal(value);
            case Type::choice:
                return choice(value);
            case Type::signal:
                return signal(value);
            case Type::count_limit:
            case Type::size_limit:
                return limit(value);
            case Type::number:
                return number(value);
            case Type::rate:
                return rate(value);
            case Type::prefixes:
                return prefixes(value);
            case Type::windows:
                return windows(value);
            case Type::tls_names:
                return tls_names(value);
        }
        return false;
    }

  private:
    bool complain(const Value& at, std::string message) {
        errors_.push_back({at.spot.place(), std::move(message)});
        return false;
    }
    bool mistyped(const Value& at, std::string_view expected) { return complain(at, wrong_type(name_, expected, at)); }

    /// As written in the file, for messages.
    static std::string shown(const Value& value) {
        if (value.kind == Kind::string) return fmt::format("\"{}\"", value.text);
        return value.kind == Kind::real ? fmt::format("{}", value.real) : fmt::format("{}", value.integer);
    }

    bool string(const Value& value, std::string_view expected = "a string") {
        if (value.kind != Kind::string) return mistyped(value, expected);
        if (value.text.find('\0') != std::string::npos) return complain(value, name_ + " contains a NUL byte");
        return true;
    }

    bool text(const Value& value) {
        if (!string(value)) return false;
        const auto length = static_cast<std::int64_t>(value.text.size());
        if (length < shape_.min) return complain(value, name_ + " is empty");
        if (length > shape_.max) return complain(value, fmt::format("{} is longer than {} bytes", name_, shape_.max));
        out_.text = value.text;
        return true;
    }

    bool words(const Value& value, bool one_will_do) {
        const char* expected = one_will_do ? "a string or an array of strings" : "an array of strings";
        if (one_will_do && value.kind == Kind::string) return string(value);
        if (value.kind != Kind::array) return mistyped(value, expected);
        bool sound = true;
        for (const Value& item : value.items) sound = string(item) && sound;
        return sound;
    }

    bool tls_names(const Value& value) {
        if (value.kind != Kind::array) return mistyped(value, "an array of tables: [[tls.name]]");
        bool sound = true;
        for (const Value& item : value.items) sound = tls_name(item) && sound;
        return sound;
    }

    bool tls_name(const Value& value) {
        static const std::vector<std::string> known{"names", "certificate", "key"};
        if (value.kind != Kind::table) return mistyped(value, "a table with names, certificate and key");
        bool sound = true;
        for (const auto& [name, entry] : value.entries) {
            if (std::ranges::find(known, name) == known.end()) {
                errors_.push_back({entry.key.place(),
                                   fmt::format("unknown key \"{}.{}\"{}", name_, name, did_you_mean(name, known))});
                sound = false;
            } else if (name == "names") {
                sound = words(entry.value, true) && sound;
                if (entry.value.kind == Kind::array && entry.value.items.empty())
                    sound = complain(entry.value, name_ + ".names is empty");
            } else {
                sound = string(entry.value) && sound;
            }
        }
        for (const std::string& name : known)
            if (value.find(name) == nullptr) sound = complain(value, fmt::format("{}.{} is missing", name_, name));
        return sound;
    }

    bool pairs(const Value& value) {
        if (value.kind != Kind::table) return mistyped(value, "a table of strings");
        bool sound = true;
        for (const auto& [name, entry] : value.entries) sound = string(entry.value) && sound;
        return sound;
    }

    bool boolean(const Value& value) {
        if (value.kind != Kind::boolean) return mistyped(value, "true or false");
        out_.flag = value.boolean;
        return true;
    }

    bool flag_or_word(const Value& value) {
        if (value.kind == Kind::boolean) {
            out_.number = value.boolean ? 1 : 0;
            return true;
        }
        if (!string(value, "true, false or a word")) return false;
        if (value.text == "true" || value.text == "false")
            return complain(value, fmt::format("{} {}: write {} without quotes", name_, shown(value), value.text));
        return choice(value);
    }

    bool in_range(const Value& at, std::int64_t number) {
        if (number < shape_.min || number > shape_.max) {
            return complain(at,
                            fmt::format("{} {} is out of range {} to {}", name_, shown(at), shape_.min, shape_.max));
        }
        out_.number = number;
        return true;
    }

    bool integer(const Value& value) {
        if (value.kind != Kind::integer) {
            return mistyped(value, fmt::format("an integer from {} to {}", shape_.min, shape_.max));
        }
        return in_range(value, value.integer);
    }

    bool no_unit(const Value& value, const char* what, std::string_view example) {
        return complain(value, fmt::format("{} {} has no unit: write a {} with its unit, such as \"{}\"", name_,
                                           shown(value), what, example));
    }

    bool duration(const Value& value) {
        const bool bare = value.kind == Kind::integer || (value.kind == Kind::string && all_digits(value.text));
        if (bare) {
            const std::string guess =
                value.kind == Kind::integer ? fmt::format("{}s", value.integer) : value.text + "s";
            return no_unit(value, "duration", parse_duration(guess) ? guess : "10s");
        }
        if (!string(value, "a duration such as \"10s\"")) return false;
        const auto read = parse_duration(value.text);
        if (!read) {
            return complain(value,
                            fmt::format("{} {} is not a duration: write whole numbers with units (us, ms, s, m, h, d), "
                                        "largest first, such as \"1h30m\"",
                                        name_, shown(value)));
        }
        if (read->count() < shape_.min || read->count() > shape_.max) {
            return complain(value,
                            fmt::format("{} {} is out of range {} to {}", name_, shown(value),
                                        format_duration(Duration(shape_.min)), format_duration(Duration(shape_.max))));
        }
        if (shape_.type == Type::seconds && *read % std::chrono::seconds(1) != Duration(0)) {
            return complain(value, fmt::format("{} {} must be whole seconds", name_, shown(value)));
        }
        out_.number = read->count();
        return true;
    }

    bool size(const Value& value) {
        const bool integer = value.kind == Kind::integer;
        if (integer || (value.kind == Kind::string && all_digits(value.text))) {
            const auto bytes =
                integer ? std::optional(static_cast<std::uint64_t>(value.integer)) : parse_size(value.text);
            const std::string guess = bytes && (!integer || value.integer > 0) ? format_size(*bytes) : "";
            return no_unit(value, "size", guess.empty() || all_digits(guess) ? "64K" : guess);
        }
        if (!string(value, "a size such as \"64K\"")) return false;
        const auto bytes = parse_size(value.text);
        if (!bytes) return complain(value, not_a_size(value));
        if (static_cast<std::int64_t>(*bytes) < shape_.min || static_cast<std::int64_t>(*bytes) > shape_.max) {
            return complain(value, fmt::format("{} {} is out of range {} to {}", name_, shown(value), shape_.min,
                                               format_size(static_cast<std::uint64_t>(shape_.max))));
        }
        out_.number = static_cast<std::int64_t>(*bytes);
        return true;
    }

    bool percent(const Value& value) {
        if (value.kind == Kind::integer || (value.kind == Kind::string && all_digits(value.text)))
            return no_unit(value, "percentage", "50%");
        if (!string(value, "a percentage such as \"50%\"")) return false;
        const std::string_view digits = std::string_view(value.text).substr(0, value.text.size() - 1);
        if (!value.text.ends_with('%') || !all_digits(digits) || digits.size() > 9)
            return complain(
                value, fmt::format("{} {} is not a percentage: write a whole number and \"%\", such as \"50%\"", name_,
                                   shown(value)));
        std::int64_t number = 0;
        std::from_chars(digits.data(), digits.data() + digits.size(), number);
        return in_range(value, number);
    }

    std::string not_a_size(const Value& value) const {
        return fmt::format("{} {} is not a size: write a whole number with K, M, G or T, such as \"64K\"", name_,
                           shown(value));
    }

    bool octal(const Value& value) {
        std::string digits = value.text;
        if (value.kind == Kind::integer) {
            // A bare 0 is the same in any base.
            if (!value.octal && value.integer != 0) {
                digits = fmt::format("{}", value.integer);
                const bool plausible = digits.size() <= 4 && digits.find_first_not_of("01234567") == std::string::npos;
                return complain(
                    value, fmt::format("{} {} is a decimal number: write its octal digits in quotes, such as \"{}\"",
                                       name_, digits, plausible ? "0" + digits : "0660"));
            }
            digits = fmt::format("{:o}", value.integer);
        } else if (!string(value, "octal digits in quotes, such as \"0660\"")) {
            return false;
        }
        std::int64_t number = -1;
        const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 8);
        if (status == std::errc{} && end == digits.data() + digits.size() && number >= shape_.min &&
            number <= shape_.max) {
            out_.number = number;
            return true;
        }
        const std::string written = value.kind == Kind::integer ? fmt::format("0o{}", digits) : shown(value);
        if (!digits.empty() && digits.find_first_not_of("01234567") == std::string::npos) {
            return complain(
                value, fmt::format("{} {} is out of range {:04o} to {:04o}", name_, written, shape_.min, shape_.max));
        }
        return complain(value,
                        fmt::format("{} {} is not octal: write digits from 0 to 7, such as \"0660\"", name_, written));
    }

    bool choice(const Value& value) {
        if (!string(value, fmt::format("one of {}", fmt::join(shape_.choices, ", ")))) return false;
        const auto found = std::ranges::find(shape_.choices, value.text);
        if (found == shape_.choices.end()) {
            return complain(
                value, fmt::format("{} {} is not one of {}{}", name_, shown(value), fmt::join(shape_.choices, ", "),
                                   did_you_mean(value.text, shape_.choices)));
        }
        out_.number = found - shape_.choices.begin();
        return true;
    }

    bool signal(const Value& value) {
        if (value.kind == Kind::integer) {
            if (value.integer >= 1 && value.integer <= SIGRTMAX) {
                out_.number = value.integer;
                return true;
            }
            return complain(value, fmt::format("{} {} is out of range 1 to {}", name_, value.integer, SIGRTMAX));
        }
        if (!string(value, "a signal such as \"TERM\"")) return false;
        if (const auto number = find_signal(value.text)) {
            out_.number = *number;
            return true;
        }
        std::string_view wanted = value.text;
        if (wanted.starts_with("SIG")) wanted.remove_prefix(3);
        return complain(value, fmt::format("{} {} is not a signal: write a name such as \"TERM\", or a number{}", name_,
                                           shown(value), did_you_mean(wanted, signal_names())));
    }

    bool one_limit(const Value& value, rlim_t& out) {
        const bool bytes = shape_.type == Type::size_limit;
        if (value.kind == Kind::integer && value.integer >= 0) {
            out = static_cast<rlim_t>(value.integer);
            return true;
        }
        if (value.kind == Kind::integer) return complain(value, fmt::format("{} {} is negative", name_, value.integer));
        if (!string(value, bytes ? "a size, [soft, hard] or \"unlimited\"" : "a number, [soft, hard] or \"unlimited\""))
            return false;
        if (value.text == "unlimited") {
            out = RLIM_INFINITY;
            return true;
        }
        if (bytes) {
            if (const auto size = parse_size(value.text)) {
                out = *size;
                return true;
            }
            return complain(value, not_a_size(value) + ", or \"unlimited\"");
        }
        return complain(value, fmt::format("{} {} is neither a number nor \"unlimited\"{}", name_, shown(value),
                                           did_you_mean(value.text, {"unlimited"})));
    }

    bool limit(const Value& value) {
        if (value.kind != Kind::array) {
            if (!one_limit(value, out_.soft)) return false;
            out_.hard = out_.soft;
            return true;
        }
        if (value.items.size() != 2) {
            return complain(value,
                            fmt::format("{} must be [soft, hard]: two limits, not {}", name_, value.items.size()));
        }
        const bool soft = one_limit(value.items[0], out_.soft);
        if (!one_limit(value.items[1], out_.hard) || !soft) return false;
        if (out_.soft > out_.hard)
            return complain(value.items[0], fmt::format("{}: the soft limit is above the hard one", name_));
        return true;
    }

    bool number(const Value& value) {
        if (value.kind != Kind::integer && value.kind != Kind::real) return mistyped(value, "a number above 0");
        out_.real = value.kind == Kind::real ? value.real : static_cast<double>(value.integer);
        if (out_.real > 0 && std::isfinite(out_.real)) return true;
        return complain(value, fmt::format("{} {} is not a finite number above 0", name_, shown(value)));
    }

    bool rate(const Value& value) {
        if (value.kind == Kind::integer || (value.kind == Kind::string && all_digits(value.text)))
            return no_unit(value, "rate", "100/s");
        if (!string(value, "a rate such as \"100/s\"")) return false;
        constexpr int most = 1'000'000;
        const std::string_view written = value.text;
        const std::size_t slash = written.find('/');
        const std::string_view digits = written.substr(0, slash);
        const auto unit =
            parse_duration(slash != std::string_view::npos ? fmt::format("1{}", written.substr(slash + 1)) : "");
        if (!all_digits(digits) || !unit || written.size() != digits.size() + 2) {
            return complain(value,
                            fmt::format("{} {} is not a rate: write a whole number per s, m, h or d, such as \"100/s\"",
                                        name_, shown(value)));
        }
        int number = 0;
        const auto status = std::from_chars(digits.data(), digits.data() + digits.size(), number).ec;
        if (status != std::errc{} || number < 1 || number > most)
            return complain(value, fmt::format("{} {} is out of range 1 to {}", name_, shown(value), most));
        out_.rate = {*unit / number, number};
        out_.number = out_.rate.interval.count();
        return true;
    }

    bool prefixes(const Value& value) {
        if (!words(value, true)) return false;
        bool sound = true;
        std::set<std::pair<sys::IpBytes, int>> seen;
        for (const Value* word : words_of(value)) {
            const auto prefix = sys::parse_prefix(word->text);
            if (!prefix) {
                sound = complain(*word, fmt::format("{} {} is not a prefix: write addresses such as \"10.0.0.0/8\", "
                                                    "\"192.0.2.1\" or \"2001:db8::/32\"",
                                                    name_, shown(*word)));
            } else if (!seen.emplace(prefix->base, prefix->length).second) {
                sound = complain(*word, fmt::format("{} {}: {} is given twice", name_, shown(*word), prefix->text()));
            } else {
                out_.prefixes.push_back(*prefix);
            }
        }
        return sound;
    }

    bool windows(const Value& value) {
        if (!words(value, true)) return false;
        bool sound = true;
        for (const Value* word : words_of(value)) {
            const auto window = parse_time_window(word->text);
            if (window) {
                out_.windows.push_back(*window);
            } else {
                sound = complain(*word, fmt::format("{} {}: {}", name_, shown(*word), window.error().text));
            }
        }
        return sound;
    }

    std::string name_;
    const Shape& shape_;
    Reading& out_;
    Diagnostics& errors_;
};

}  // namespace

bool read_value(const Key& key, const Value& value, Reading& out, Diagnostics& errors) {
    return Reader(key, out, errors).read(value);
}

}  // namespace superd::conf
