// SPDX-License-Identifier: MIT
#include "ctl/import/import.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace superd::ctl {

namespace {

bool is_alphanumeric(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

std::string_view base_name(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

}  // namespace

const char* name_of(Fate fate) {
    switch (fate) {
        case Fate::changed:
            return "changed";
        case Fate::lost:
            return "lost";
        case Fate::disabled:
            return "disabled";
        case Fate::skipped:
            return "skipped";
        case Fate::missing:
            return "missing";
        case Fate::error:
            return "error";
    }
    return "";
}

std::string toml_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\u{:04x}", byte);
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string toml_text(const std::vector<std::string>& words) {
    std::string out = "[";
    for (const std::string& word : words) {
        if (out.size() > 1) out += ", ";
        out += toml_text(word);
    }
    return out + ']';
}

void Imported::set_toml(const std::string& key, std::string toml, const Origin& from) {
    settings[key] = {std::move(toml), from};
}

void Imported::set(const std::string& key, std::string_view text, const Origin& from) {
    set_toml(key, toml_text(text), from);
}

void Imported::set(const std::string& key, const std::vector<std::string>& words, const Origin& from) {
    set_toml(key, key == "listen" && words.size() == 1 ? toml_text(words[0]) : toml_text(words), from);
}

void Imported::set(const std::string& key, std::int64_t number, const Origin& from) {
    set_toml(key, std::to_string(number), from);
}

void Imported::set(const std::string& key, bool flag, const Origin& from) {
    set_toml(key, flag ? "true" : "false", from);
}

void Imported::set_environment(const std::map<std::string, std::string>& variables, const Origin& from) {
    for (const auto& [variable, value] : variables) set("environment." + variable, std::string_view(value), from);
}

bool Imported::enabled() const {
    const auto found = settings.find("enabled");
    return found == settings.end() || found->second.toml != "false";
}

void Import::note(const Origin& at, std::string service, Fate fate, std::string text) {
    notes.push_back({at, std::move(service), fate, std::move(text)});
}

void Import::disable(Imported& service, const Origin& at, std::string why) {
    service.set("enabled", false, at);
    note(at, service.name, Fate::disabled, std::move(why) + "; written with enabled = false");
}

bool is_plain_text(std::string_view text) {
    return text.find('\0') == std::string_view::npos && !find_invalid_utf8(text);
}

std::string service_name(std::string_view wanted) {
    constexpr std::size_t longest = 200;  // still a valid file name with its suffixes
    std::string out;
    for (const char c : wanted.substr(0, longest)) {
        const bool fits = is_alphanumeric(c) || std::string_view("._@-").find(c) != std::string_view::npos;
        if (out.empty() && !is_alphanumeric(c)) continue;
        out += fits ? c : '-';
    }
    return out.empty() ? "service" : out;
}

std::string free_name(const std::vector<Imported>& others, const std::string& wanted, const std::string& suffix) {
    const auto is_free = [&](const std::string& name) {
        return std::ranges::find(others, name, &Imported::name) == others.end();
    };
    if (is_free(wanted)) return wanted;
    const std::string second = fmt::format("{}-{}", wanted, suffix);
    std::string name = second;
    for (int number = 2; !is_free(name); ++number) name = fmt::format("{}-{}", second, number);
    return name;
}

std::string inet_uri(std::string_view protocol, std::string_view address, std::string_view port) {
    const bool ipv6 = address.find(':') != std::string_view::npos;
    return fmt::format("{}://{}{}{}:{}", protocol, ipv6 ? "[" : "", address, ipv6 ? "]" : "", port);
}

bool is_address(std::string_view text) {
    const std::string address(text.substr(0, text.find('%')));
    in_addr ipv4{};
    in6_addr ipv6{};
    return inet_pton(AF_INET6, address.c_str(), &ipv6) == 1 ||
           (address.size() == text.size() && inet_pton(AF_INET, address.c_str(), &ipv4) == 1);
}

std::string shipped_handler(std::string_view service) {
    constexpr std::array<std::pair<std::string_view, const char*>, 10> shipped{{{"echo", "superd-echo"},
                                                                                {"7", "superd-echo"},
                                                                                {"discard", "superd-discard"},
                                                                                {"9", "superd-discard"},
                                                                                {"daytime", "superd-daytime"},
                                                                                {"13", "superd-daytime"},
                                                                                {"chargen", "superd-chargen"},
                                                                                {"19", "superd-chargen"},
                                                                                {"time", "superd-time"},
                                                                                {"37", "superd-time"}}};
    const auto found = std::ranges::find(shipped, service, &std::pair<std::string_view, const char*>::first);
    return found != shipped.end() ? found->second : "";
}

void set_model(Import& import, Imported& service, bool stream, bool wait, bool shipped, const Origin& at) {
    if (stream && !wait) return service.set("model", "fork", at);
    service.set("model", "iterative", at);
    if (stream) service.set("handoff", "listen", at);
    if (stream || wait || shipped) return;
    import.note(at, service.name, Fate::changed,
                "nowait on datagrams: the handler has the socket to itself until it exits (model \"iterative\"), since "
                "under \"fork\" it would find one datagram on stdin instead of the socket");
}

std::string set_handler(Import& import, Imported& service, std::string program, std::vector<std::string> argv,
                        const Origin& at) {
    std::string daemon;
    if (argv.empty()) argv.emplace_back(base_name(program));
    if (base_name(program) == "tcpd" && argv[0] != program && base_name(argv[0]) != "tcpd") {
        // tcpd(8) runs argv[0]; unless that is a path, it looks for it in its own folder.
        program = argv[0].starts_with('/') ? argv[0] : fmt::format("/usr/sbin/{}", argv[0]);
        daemon = base_name(argv[0]);
        import.note(
            at, service.name, Fate::changed,
            fmt::format("tcpd is left out and {} is started directly: [access] has what hosts.allow and hosts.deny "
                        "say now",
                        program));
    }
    std::vector<std::string> exec{program};
    exec.insert(exec.end(), argv.begin() + 1, argv.end());
    service.set("exec", exec, at);
    if (!argv[0].empty() && argv[0] != program && argv[0] != base_name(program)) service.set("argv0", argv[0], at);
    return daemon;
}

std::vector<std::string> listen_addresses(const Machine& machine, const std::string& host, std::string_view family) {
    std::vector<std::string> out;
    const auto fits = [&](const std::string& address) {
        const bool ipv6 = address.find(':') != std::string::npos;
        return family.empty() || ipv6 == (family == "6");
    };
    for (const std::string& address : is_address(host) ? std::vector{host} : machine.addresses(host)) {
        if (fits(address) && std::ranges::find(out, address) == out.end()) out.push_back(address);
    }
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

}  // namespace superd::ctl
