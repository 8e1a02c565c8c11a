// SPDX-License-Identifier: MIT
// Which attributes xinetd knows, and which values it accepts: a value that it refuses switches the service off.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <map>

#include "base/text.h"
#include "ctl/import/xinetd.h"

namespace superd::ctl::xinetd {

namespace {

using Words = std::vector<std::string>;

constexpr std::array<Known, 46> all_known{{
    {"socket_type", 1, false},
    {"protocol", 1, false},
    {"wait", 1, false},
    {"user", 1, false},
    {"group", 1, false},
    {"server", 1, false},
    {"server_args", kAny, false},
    {"instances", 1, true},
    {"log_on_success", kSet, true},
    {"log_on_failure", kSet, true},
    {"log_type", kAny, true},
    {"only_from", kSet, true},
    {"no_access", kSet, true},
    {"access_times", kAny, false},
    {"type", kAny, false},
    {"rpc_version", 1, false},
    {"rpc_number", 1, false},
    {"id", 1, false},
    {"env", kSet, false},
    {"port", 1, false},
    {"passenv", kSet, true},
    {"flags", kAny, false},
    {"nice", 1, false},
    {"redirect", 2, false},
    {"banner", 1, true},
    {"bind", 1, true},
    {"interface", 1, true},
    {"per_source", 1, true},
    {"groups", 1, true},
    {"banner_success", 1, true},
    {"banner_fail", 1, true},
    {"cps", 2, true},
    {"disable", 1, false},
    {"max_load", 1, true},
    {"rlimit_as", 1, false},
    {"rlimit_cpu", 1, false},
    {"rlimit_data", 1, false},
    {"rlimit_files", 1, false},
    {"rlimit_rss", 1, false},
    {"rlimit_stack", 1, false},
    {"v6only", 1, true},
    {"deny_time", 1, false},
    {"umask", 1, true},
    {"libwrap", 1, false},
    {"enabled", kSet, true},
    {"disabled", kSet, true},
}};

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, lower(word)) != words.end();
}

bool all_of(const Words& words, std::initializer_list<std::string_view> allowed) {
    return std::ranges::all_of(words, [&](const std::string& word) { return is_one_of(word, allowed); });
}

bool is_number(std::string_view text, long least, long most, int base = 10) {
    if (text.starts_with('+')) text.remove_prefix(1);
    long number = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    return status == std::errc{} && end == text.data() + text.size() && number >= least && number <= most;
}

constexpr long most_int = 2147483647;

bool is_count(const Words& words) {
    return is_one_of(words[0], {"unlimited"}) || is_number(words[0], 0, most_int);
}

bool is_size(std::string_view text) {
    if (!text.empty() && std::string_view("kKmM").find(text.back()) != std::string_view::npos) text.remove_suffix(1);
    return !text.empty() && text.size() <= 19 && all_digits(text);
}

bool is_limit(const Words& words) {
    return is_one_of(words[0], {"unlimited"}) || is_size(words[0]);
}

bool is_load(const Words& words) {
    double load = 0;
    const std::string& word = words[0];
    return std::from_chars(word.data(), word.data() + word.size(), load).ec == std::errc{} && load != 0;
}

/// 2:00-9:00
bool is_interval(std::string_view text) {
    const auto minute_of = [](std::string_view clock) {
        const std::size_t colon = clock.find(':');
        if (colon == std::string_view::npos) return -1;
        const std::string_view hour = clock.substr(0, colon), minute = clock.substr(colon + 1);
        if (!is_number(hour, 0, 23) || !is_number(minute, 0, 59)) return -1;
        int value = 0, rest = 0;
        std::from_chars(hour.data(), hour.data() + hour.size(), value);
        std::from_chars(minute.data(), minute.data() + minute.size(), rest);
        return value * 60 + rest;
    };
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return false;
    const int from = minute_of(text.substr(0, dash)), to = minute_of(text.substr(dash + 1));
    return from >= 0 && to >= from;
}

/// 10.0.0.{1,2}: an error in the braces is an error in the list; anything else that is not an address is ignored.
bool is_address_word(const std::string& word) {
    const std::size_t brace = word.find('{');
    if (brace == std::string::npos) return word.find(',') == std::string::npos;
    if (word.find("..") < brace) return false;
    const std::string_view front = std::string_view(word).substr(0, brace);
    if (front.find_first_not_of("0123456789.") != std::string_view::npos) return true;
    if (!word.ends_with('}')) return false;
    const std::string_view inside = std::string_view(word).substr(brace + 1, word.size() - brace - 2);
    return std::ranges::all_of(split(inside, ','),
                               [](std::string_view part) { return !part.empty() && all_digits(part); });
}

bool is_log_type(const Words& words) {
    static constexpr std::array<std::string_view, 17> facilities{
        "daemon", "auth",   "authpriv", "user",   "mail",   "lpr",    "news",   "uucp",  "ftp",
        "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
    if (words.empty()) return false;
    if (is_one_of(words[0], {"file"}))
        return words.size() >= 2 && words.size() <= 4 &&
               std::ranges::all_of(words.begin() + 2, words.end(), [](const std::string& w) { return is_size(w); });
    return is_one_of(words[0], {"syslog"}) && (words.size() == 2 || words.size() == 3) &&
           std::ranges::find(facilities, lower(words[1])) != facilities.end() &&
           (words.size() == 2 ||
            is_one_of(words[2], {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}));
}

/// Every attribute that refuses some values.
using Check = bool (*)(const Words& words);
const std::map<std::string_view, Check>& checks() {
    constexpr Check yes_or_no = [](const Words& words) { return is_one_of(words[0], {"yes", "no"}); };
    constexpr Check addresses = [](const Words& words) { return std::ranges::all_of(words, is_address_word); };
    static const std::map<std::string_view, Check> all{
        {"type",
         [](const Words& words) {
             return !words.empty() && all_of(words, {"rpc", "internal", "unlisted", "special", "tcpmux", "tcpmuxplus"});
         }},
        {"flags",
         [](const Words& words) {
             return !words.empty() && all_of(words, {"reuse", "intercept", "noretry", "idonly", "nameinargs", "nodelay",
                                                     "keepalive", "nolibwrap", "sensor", "ipv4", "ipv6", "labeled"});
         }},
        {"socket_type",
         [](const Words& words) {
             return all_of(words, {"stream", "dgram", "raw", "seqpacket"});
         }},
        {"wait", yes_or_no},
        {"disable", yes_or_no},
        {"groups", yes_or_no},
        {"v6only", yes_or_no},
        {"server_args", [](const Words& words) { return !words.empty(); }},
        {"instances", is_count},
        {"per_source", is_count},
        {"cps",
         [](const Words& words) { return is_number(words[0], 0, most_int) && is_number(words[1], 0, most_int); }},
        {"port", [](const Words& words) { return is_number(words[0], 0, 65535); }},
        {"nice", [](const Words& words) { return is_number(words[0], -most_int, most_int); }},
        {"umask", [](const Words& words) { return is_number(words[0], 0, 0777, 8); }},
        {"env",
         [](const Words& words) {
             return std::ranges::all_of(words, [](const std::string& w) { return w.find('=') != std::string::npos; });
         }},
        {"rlimit_as", is_limit},
        {"rlimit_cpu",
         [](const Words& words) {
             return is_one_of(words[0], {"unlimited"}) || (all_digits(words[0]) && is_size(words[0]));
         }},
        {"rlimit_data", is_limit},
        {"rlimit_files", is_limit},
        {"rlimit_rss", is_limit},
        {"rlimit_stack", is_limit},
        {"max_load", is_load},
        {"access_times", [](const Words& words) { return !words.empty() && std::ranges::all_of(words, is_interval); }},
        {"log_on_success",
         [](const Words& words) {
             return all_of(words, {"host", "duration", "exit", "pid", "userid", "traffic"});
         }},
        {"log_on_failure",
         [](const Words& words) {
             return all_of(words, {"host", "attempt", "userid"});
         }},
        {"log_type", is_log_type},
        {"only_from", addresses},
        {"no_access", addresses},
        {"rpc_number", [](const Words& words) { return is_number(words[0], -most_int, most_int); }},
        {"deny_time",
         [](const Words& words) {
             return is_one_of(words[0], {"forever", "never"}) || is_number(words[0], -most_int, most_int);
         }},
    };
    return all;
}

}  // namespace

const Known* known(std::string_view name) {
    const auto found = std::ranges::find(all_known, name, &Known::name);
    return found != all_known.end() ? &*found : nullptr;
}

std::string why_refused(std::string_view name, std::string_view op, const Words& words) {
    if (name == "env" && op == "-=") return "it does not take -=";
    const auto check = checks().find(name);
    if (check == checks().end() || check->second(words)) return "";
    return words.empty() ? "it has no value" : "xinetd refuses this";
}

}  // namespace superd::ctl::xinetd
