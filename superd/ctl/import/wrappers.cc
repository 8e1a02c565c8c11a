// SPDX-License-Identifier: MIT
// hosts.allow and hosts.deny, as tcpd and libwrap read them (hosts_access(5), hosts_options(5)).
#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "base/text.h"
#include "ctl/import/access.h"

namespace superd::ctl {

namespace {

/// Fields between colons, except colons in brackets or after a backslash.
std::vector<std::string> fields_of(std::string_view line) {
    std::vector<std::string> out(1);
    bool bracket = false;
    for (std::size_t at = 0; at < line.size(); ++at) {
        if (line[at] == '\\' && at + 1 < line.size()) {
            out.back() += line[++at];
            continue;
        }
        if (line[at] == '[') bracket = true;
        if (line[at] == ']') bracket = false;
        if (line[at] == ':' && !bracket) {
            out.emplace_back();
        } else {
            out.back() += line[at];
        }
    }
    return out;
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    constexpr std::string_view separators = ", \t\r\f\v";
    for (std::size_t at = text.find_first_not_of(separators); at != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
        out.emplace_back(text.substr(at, end - at));
        at = text.find_first_not_of(separators, end);
    }
    return out;
}

/// "10.1." and "10.1.2.0/255.255.255.0", "[fd00::]/8" and what superd writes itself.
std::optional<sys::Prefix> prefix_of(std::string_view word) {
    if (word.ends_with('.')) {
        const auto dots = std::ranges::count(word, '.');
        std::string address(word);
        for (auto left = dots; left < 4; ++left) address += left + 1 < 4 ? "0." : "0";
        return dots < 4 ? sys::parse_prefix(address + "/" + std::to_string(8 * dots)) : std::nullopt;
    }
    const std::size_t slash = word.find('/');
    if (in_addr mask{}; slash != std::string_view::npos &&
                        inet_pton(AF_INET, std::string(word.substr(slash + 1)).c_str(), &mask) == 1) {
        const std::uint32_t bits = ntohl(mask.s_addr);
        const int length = std::popcount(bits);
        if (length < 32 && (bits << length) != 0) return std::nullopt;
        return sys::parse_prefix(std::string(word.substr(0, slash)) + "/" + std::to_string(length));
    }
    std::string plain(word);
    std::erase_if(plain, [](char c) { return c == '[' || c == ']'; });
    return sys::parse_prefix(plain);
}

class Rules {
  public:
    Rules(std::string_view daemon, std::string file) : daemon_(daemon) {
        list_.name = file;
        list_.at = {std::move(file), 0};
    }

    /// The first match over both files counts, so they form one list.
    void read(std::string_view text, bool in) {
        std::string whole;
        for (const std::string_view raw : split(text, '\n')) {
            const std::string_view line = trimmed(raw);
            if (whole.empty() && (line.empty() || line.starts_with('#'))) continue;
            whole += line;
            if (whole.ends_with('\\')) {
                whole.back() = ' ';
                continue;
            }
            rule(whole, in);
            whole.clear();
        }
    }

    AccessList result() { return std::move(list_); }

  private:
    bool names_daemon(const std::vector<std::string>& words) const {
        return std::ranges::any_of(words, [&](const std::string& word) {
            // NAME@ADDRESS and EXCEPT may or may not match this daemon: assume that they do.
            return word == "ALL" || word == daemon_ || word == "EXCEPT" || word.starts_with(daemon_ + "@");
        });
    }

    void rule(std::string_view line, bool in) {
        const std::vector<std::string> fields = fields_of(line);
        if (fields.size() < 2) return;
        const std::vector<std::string> daemons = words_of(fields[0]);
        if (!names_daemon(daemons)) return;
        bool replies = false;  // by a program or a file
        for (std::size_t i = 2; i < fields.size(); ++i) {
            const std::vector<std::string> option = words_of(fields[i]);
            if (option.empty()) continue;
            if (option[0] == "deny" || option[0] == "DENY") in = false;
            if (option[0] == "allow" || option[0] == "ALLOW") in = true;
            if (option[0] == "twist" || option[0] == "TWIST") replies = true;
        }
        const auto lost = [&](const std::string& word) {
            (in && !replies ? list_.lost_in : list_.lost_out).push_back(word);
        };
        const std::vector<std::string> clients = words_of(fields[1]);
        const bool except = std::ranges::find(clients, "EXCEPT") != clients.end() ||
                            std::ranges::find(daemons, "EXCEPT") != daemons.end();
        if (except || replies) return lost(std::string(line));
        for (const std::string& client : clients) {
            if (client == "ALL") {
                list_.add(everybody(), in);
            } else if (const auto prefix = prefix_of(client)) {
                list_.add({*prefix}, in);
            } else {
                lost(client);
            }
        }
    }

    const std::string daemon_;
    AccessList list_;
};

}  // namespace

std::vector<AccessList> wrapper_lists(const Machine& machine, std::string_view daemon) {
    const std::string allow = "/etc/hosts.allow", deny = "/etc/hosts.deny";
    Rules rules(daemon, deny);
    if (const auto text = machine.read(allow)) rules.read(*text, true);
    if (const auto text = machine.read(deny)) rules.read(*text, false);
    AccessList list = rules.result();
    const bool denies =
        !list.lost_out.empty() || std::ranges::any_of(list.rules, [](const AccessList::Rule& one) { return !one.in; });
    return denies ? std::vector{std::move(list)} : std::vector<AccessList>{};
}

}  // namespace superd::ctl
