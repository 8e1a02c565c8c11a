// SPDX-License-Identifier: MIT
// inetd.conf as BSD, Debian (openbsd-inetd) and GNU inetutils write it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "ctl/import/import.h"

namespace superd::ctl {

namespace {

/// Words between blanks; one that starts with a quote reaches to the next such quote. nullopt: there is none.
std::optional<std::vector<std::string>> words_of(std::string_view line) {
    std::vector<std::string> out;
    for (line = trimmed(line); !line.empty(); line = trimmed(line)) {
        const bool quoted = line[0] == '"' || line[0] == '\'';
        const std::size_t end = quoted ? line.find(line[0], 1) : std::min(line.find_first_of(kBlanks), line.size());
        if (end == std::string_view::npos) return std::nullopt;
        out.emplace_back(line.substr(quoted ? 1 : 0, quoted ? end - 1 : end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return out;
}

std::optional<int> count_of(std::string_view text) {
    int number = 0;
    if (!all_digits(text)) return std::nullopt;
    const auto status = std::from_chars(text.data(), text.data() + text.size(), number).ec;
    return status == std::errc{} ? std::optional(number) : std::nullopt;
}

/// A line's fields, as far as they mean the same in all dialects.
struct Line {
    Origin at;
    std::string addresses;  ///< what stood before the colon, or the sticky ones; "*" where nothing did
    std::string service;
    std::string type;
    std::string protocol;              ///< without options
    std::vector<std::string> options;  ///< what followed it after commas
    std::string wait;
    std::string user;
    std::string program;
    std::vector<std::string> argv;
};

class Importer {
  public:
    Importer(const std::string& file, std::string_view text) : file_(file), lines_(split(text, '\n')) {}

    Import run() {
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            const Origin at{file_, static_cast<int>(i) + 1};
            const std::string_view line = trimmed(lines_[i]);
            if (line.empty()) continue;
            if (line[0] == '#') {
                comment(at, line);
                continue;
            }
            // A line that begins with a blank goes on with the one before, in BSD.
            std::string whole(line);
            while (i + 1 < lines_.size() && !lines_[i + 1].empty() &&
                   kBlanks.find(lines_[i + 1][0]) != std::string::npos) {
                const std::string_view next = trimmed(lines_[i + 1]);
                if (next.empty() || next[0] == '#') break;
                whole += ' ';
                whole += next;
                ++i;
            }
            statement(at, whole);
        }
        return std::move(import_);
    }

  private:
    void skip(const Origin& at, const std::string& service, std::string why) {
        import_.note(at, service, Fate::skipped, std::move(why));
    }
    void broken(const Origin& at, std::string why) { import_.note(at, "", Fate::error, std::move(why)); }

    void comment(const Origin& at, std::string_view line) {
        if (line.starts_with("#@")) {
            return import_.note(at, "", Fate::lost, "an IPsec policy: superd sets none");
        }
        constexpr std::string_view off = "#<off>#";
        if (!line.starts_with(off) || !is_plain_text(line)) return;
        const auto words = words_of(line.substr(off.size()));
        const std::string name = words && !words->empty() ? words->front() : "a service";
        skip(at, "", fmt::format("\"{}\" is switched off by {}: left out", name, off));
    }

    void statement(const Origin& at, const std::string& line) {
        if (!is_plain_text(line)) return broken(at, "is not UTF-8 text: left out");
        const auto words = words_of(line);
        if (!words) return broken(at, "a quote is not closed: left out");
        const std::vector<std::string>& fields = *words;
        const std::string& first = fields[0];
        if (first == ".include") return broken(at, fmt::format("{}: import that file by itself", line));
        if (fields.size() == 1 && first.ends_with(':')) {
            sticky_ = first.size() > 1 ? first.substr(0, first.size() - 1) : "*";
            return;
        }
        if (fields.size() < 6) {
            return broken(at, fmt::format("{} instead of service, socket type, protocol, wait, user, program and "
                                          "arguments: left out",
                                          counted(fields.size(), "field")));
        }
        Line out{at, sticky_, first, fields[1], "", {}, fields[3], fields[4], fields[5], {}};
        const auto protocol = split(fields[2], ',');
        out.protocol = protocol[0];
        out.options.assign(protocol.begin() + 1, protocol.end());
        out.argv.assign(fields.begin() + 6, fields.end());
        // In a path a colon is a colon; in front of a port it ends addresses.
        const std::size_t colon = out.protocol == "unix" ? std::string::npos : first.rfind(':');
        if (colon != std::string::npos) {
            out.addresses = colon > 0 ? first.substr(0, colon) : "*";
            out.service = first.substr(colon + 1);
        }
        if (out.service.empty()) return broken(at, "has no service after the colon: left out");
        service(out);
    }

    void service(const Line& line) {
        const bool stream = line.type == "stream";
        const std::string word = line.service.substr(0, line.service.find('/'));
        const std::string shown = fmt::format("\"{}\"", line.service);
        if (line.protocol.starts_with("rpc/"))
            return skip(line.at, "",
                        shown + " is a Sun RPC service, registered with a portmapper: superd has none; left out");
        if (word == "tcpmux" && line.protocol != "unix")
            return skip(line.at, "",
                        shown + " is served through TCPMUX (RFC 1078), which superd does not speak; left out");
        if (!stream && line.type != "dgram")
            return skip(
                line.at, "",
                fmt::format("{} has socket type \"{}\": superd serves stream and dgram; left out", shown, line.type));
        const bool internal = line.program == "internal";
        const std::string shipped = internal ? shipped_handler(line.service) : "";
        if (internal && shipped.empty())
            return skip(line.at, "",
                        fmt::format("{} is inside of inetd, and superd ships no handler for it; left out", shown));

        Imported out;
        out.at = line.at;
        const std::string_view stem = std::string_view(line.service).substr(line.service.rfind('/') + 1);
        const std::string suffix = service_name(line.protocol == "unix" ? std::string_view("unix") : line.protocol);
        out.name = free_name(import_.services, service_name(stem), suffix);
        if (!set_listen(out, line, stream) || !set_wait(out, line, stream, !shipped.empty())) return;
        for (const std::string& option : line.options) set_buffer(out, line.at, option);
        if (internal) {
            out.set("exec", std::vector<std::string>{shipped}, line.at);
            import_.note(line.at, out.name, Fate::changed,
                         fmt::format("internal: served by {}{}", shipped,
                                     line.user == "nobody" ? "" : fmt::format(", as nobody instead of {}", line.user)));
        } else {
            set_user(out, line);
            set_handler(import_, out, line.program, line.argv, line.at);
            out.set("stderr", "socket", line.at);
        }
        import_.services.push_back(std::move(out));
    }

    bool set_listen(Imported& out, const Line& line, bool stream) {
        const std::string shown = fmt::format("\"{}\"", line.service);
        if (line.protocol == "unix") {
            out.set("listen", std::vector<std::string>{(stream ? "unix://" : "unix-dgram://") + line.service}, line.at);
            return true;
        }
        std::string family = line.protocol;
        const std::string protocol = family.substr(0, 3);
        family.erase(0, protocol.size());
        const bool known = family.empty() || family == "4" || family == "6" || family == "46" || family == "6only";
        if ((protocol != "tcp" && protocol != "udp") || !known || (protocol == "tcp") != stream) {
            skip(line.at, "",
                 fmt::format("{} has protocol \"{}\" on a {} socket, which superd does not serve; left out", shown,
                             line.protocol, line.type));
            return false;
        }
        std::vector<std::string> listen;
        for (std::string_view address : split(line.addresses, ',')) {
            if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
            std::vector<std::string> hosts{std::string(address)};
            if (address == "*") {
                hosts = {family == "4" ? "0.0.0.0" : family == "6" || family == "6only" ? "::" : "*"};
            } else if (address == "localhost") {
                hosts.clear();
                if (!family.starts_with("6")) hosts.emplace_back("127.0.0.1");
                if (family != "4") hosts.emplace_back("::1");
            } else if (!is_address(address)) {
                skip(line.at, "",
                     fmt::format("{} listens on \"{}\": superd listens on addresses, not on names; left out", shown,
                                 address));
                return false;
            }
            for (const std::string& host : hosts) listen.push_back(inet_uri(protocol, host, line.service));
        }
        out.set("listen", listen, line.at);
        if (family == "6" && listen[0].find("[::]") != std::string::npos) {
            import_.note(
                line.at, out.name, Fate::changed,
                fmt::format("{}: IPv6 alone, as in BSD and Debian; GNU inetd takes IPv4 as well, which would be "
                            "listen = \"{}\"",
                            line.protocol, inet_uri(protocol, "*", line.service)));
        }
        return true;
    }

    /// wait, nowait, nowait.60, nowait/10/30/5.
    bool set_wait(Imported& out, const Line& line, bool stream, bool shipped) {
        const std::size_t end = std::min(line.wait.find_first_of("./"), line.wait.size());
        const std::string word = line.wait.substr(0, end);
        if (word != "wait" && word != "nowait") {
            broken(line.at, fmt::format("\"{}\" is neither wait nor nowait: left out", line.wait));
            return false;
        }
        set_model(import_, out, stream, word == "wait", shipped, line.at);
        if (end == line.wait.size()) return true;
        const bool dot = line.wait[end] == '.';
        const std::string rest = line.wait.substr(end + 1);
        const auto parts = dot ? std::vector<std::string_view>{rest} : split(rest, '/');
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const auto number = count_of(parts[i]);
            if (parts[i].empty() && !dot) continue;
            if (!number || i > 2) {
                import_.note(line.at, out.name, Fate::lost,
                             fmt::format("\"{}\" in \"{}\" is no limit that inetd has", parts[i], line.wait));
            } else if (*number > 0) {  // 0: no limit
                if (dot) out.set("limits.rate", fmt::format("{}/m", *number), line.at);
                if (!dot && i == 0) set_instances(out, line, word == "wait", *number);
                if (!dot && i == 1) out.set("limits.per_source_rate", fmt::format("{}/m", *number), line.at);
                if (!dot && i == 2) out.set("limits.per_source", *number, line.at);
            }
        }
        return true;
    }

    void set_instances(Imported& out, const Line& line, bool wait, int number) {
        if (!wait) return out.set("limits.instances", number, line.at);
        if (number == 1) return;  // one at a time is what the model means
        import_.note(line.at, out.name, Fate::lost,
                     fmt::format("at most {}: under wait there is one at a time", number));
    }

    void set_buffer(Imported& out, const Origin& at, const std::string& option) {
        const std::size_t equals = std::min(option.find('='), option.size());
        const std::string name = option.substr(0, equals);
        std::string size = option.substr(std::min(equals + 1, option.size()));
        std::ranges::transform(size, size.begin(), [](char c) { return c == 'k' ? 'K' : c == 'm' ? 'M' : c; });
        const auto bytes = parse_size(size);
        if ((name != "sndbuf" && name != "rcvbuf") || !bytes) {
            return import_.note(at, out.name, Fate::lost, fmt::format("\"{}\" is no option that inetd has", option));
        }
        if (all_digits(size))
            size = *bytes % 1024 == 0 ? fmt::format("{}K", *bytes / 1024) : fmt::format("{}K", *bytes / 1024 + 1);
        out.set(name == "sndbuf" ? "socket.send_buffer" : "socket.receive_buffer", size, at);
    }

    /// user, user.group, user:group, user:group/class.
    void set_user(Imported& out, const Line& line) {
        std::string user = line.user, group;
        if (const std::size_t slash = user.find('/'); slash != std::string::npos) {
            import_.note(line.at, out.name, Fate::lost,
                         fmt::format("login class \"{}\": superd has none; see [rlimits]", user.substr(slash + 1)));
            user.erase(slash);
        }
        std::size_t mark = user.find(':');
        if (mark == std::string::npos) mark = user.find('.');
        if (mark != std::string::npos) {
            group = user.substr(mark + 1);
            user.erase(mark);
        }
        out.set("user", user, line.at);
        if (!group.empty()) out.set("group", group, line.at);
    }

    const std::string file_;
    std::vector<std::string_view> lines_;
    std::string sticky_ = "*";
    Import import_;
};

}  // namespace

Import import_inetd(const std::string& file, std::string_view text) {
    return Importer(file, text).run();
}

}  // namespace superd::ctl
