// SPDX-License-Identifier: MIT
// The text of inetd.conf: lines, sticky addresses, included files, and whose inetd it was written for.
#include "ctl/import/inetd.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "base/text.h"

namespace superd::ctl {

namespace inetd {

namespace {

constexpr std::size_t most_files = 4096;

/// user, user.group, user:group, user:group/class.
void set_user(Entry& entry, std::string_view field, Notes& notes) {
    if (const std::size_t slash = field.find('/'); slash != std::string_view::npos) {
        notes.push_back({entry.at, "", Fate::lost,
                         fmt::format("\"{}\" has the login class \"{}\": superd has none; see [rlimits]", entry.service,
                                     field.substr(slash + 1))});
        field = field.substr(0, slash);
    }
    std::size_t mark = field.find(':');
    if (mark == std::string_view::npos) mark = field.find('.');
    entry.user = field.substr(0, mark);
    if (mark != std::string_view::npos) entry.group = field.substr(mark + 1);
}

class Reader {
  public:
    Reader(const Machine& machine, std::optional<Dialect> dialect) : machine_(machine), dialect_(dialect) {}

    void read(const std::string& file, std::string_view text) {
        if (++files_ > most_files) return broken({file, 0}, fmt::format("more than {} files: not read", most_files));
        if (!open_.insert(file).second) return broken({file, 0}, "includes itself: not read again");
        const std::string outer = sticky_;
        Cursor cursor{text};
        while (cursor.at < text.size() && line(file, cursor)) {
        }
        sticky_ = outer;
        open_.erase(file);
    }

    Import run(const std::string& file, std::string_view text) {
        const Guess seen = guess(text);
        guessed_ = dialect_.value_or(seen.dialect);
        read(file, text);
        if (!dialect_ && told_) {
            import_.note(
                {file, 0}, "", Fate::changed,
                fmt::format(
                    "read as the inetd.conf {} ({}), where \"tcp\" is {}; --dialect {} changes that", whose(guessed_),
                    seen.line > 0 ? fmt::format("line {} looks like it", seen.line) : "a guess: nothing in it shows",
                    guessed_ == Dialect::openbsd ? "an IPv4 socket and an IPv6 one" : "IPv4 only",
                    guessed_ == Dialect::openbsd ? "bsd" : "openbsd"));
        }
        return std::move(import_);
    }

  private:
    void broken(const Origin& at, std::string why) { import_.note(at, "", Fate::error, std::move(why)); }

    static std::string_view next_line(Cursor& cursor) {
        const std::size_t end = std::min(cursor.text.find('\n', cursor.at), cursor.text.size());
        const std::string_view out = cursor.text.substr(cursor.at, end - cursor.at);
        cursor.at = end + 1;
        ++cursor.line;
        return out;
    }

    /// False: read nothing more of this file.
    bool line(const std::string& file, Cursor& cursor) {
        const Origin at{file, cursor.line};
        const Cursor start = cursor;
        const std::string_view raw = next_line(cursor), text = trimmed(raw);
        if (text.empty()) return true;
        if (text[0] == '#') {
            comment(at, text);
            return true;
        }
        // A line that begins with a blank continues the one before, except for GNU's inetd.
        std::string whole(text);
        while (guessed_ != Dialect::gnu && cursor.at < cursor.text.size() &&
               kBlanks.find(cursor.text[cursor.at]) != std::string_view::npos) {
            const Cursor before = cursor;
            const std::string_view more = trimmed(next_line(cursor));
            if (more.empty() || more[0] == '#') {
                cursor = before;
                next_line(cursor);
                break;
            }
            whole += ' ';
            whole += more;
        }
        if (!is_plain_text(whole)) {
            broken(at, "is not UTF-8 text: left out");
            return true;
        }
        const bool quotes = guessed_ != Dialect::bsd && guessed_ != Dialect::openbsd;
        const auto words = words_of(whole, quotes);
        if (words && words->size() > 1 && is_switch((*words)[1])) return keys(at, start, cursor, *words);
        if (!words) {
            broken(at, "a quote is not closed: left out");
        } else {
            statement(at, *words);
        }
        return true;
    }

    static bool is_switch(std::string_view word) {
        const std::string_view name = word.substr(0, word.find('#'));
        return name == "on" || name == "off";
    }

    void comment(const Origin& at, std::string_view text) {
        if (text.starts_with("#@") && text.size() > 2)
            return import_.note(at, "", Fate::lost, "an IPsec policy: superd does not set one");
        if (!text.starts_with(kOffMark) || !is_plain_text(text)) return;
        const auto words = words_of(text.substr(kOffMark.size()), false);
        const std::string name = words && !words->empty() ? words->front() : "a service";
        import_.note(at, "", Fate::skipped, fmt::format("\"{}\" is switched off by {}: left out", name, kOffMark));
    }

    void statement(const Origin& at, const std::vector<std::string>& fields) {
        const std::string& first = fields[0];
        if (first == ".include") return include(at, fields);
        if (fields.size() == 1 && first.ends_with(':')) {
            sticky_ = first.size() > 1 ? first.substr(0, first.size() - 1) : "*";
            return;
        }
        if (fields.size() < 6) {
            return broken(at, fmt::format("{} instead of service, socket type, protocol, wait, user, program and "
                                          "arguments: left out",
                                          counted(fields.size(), "field")));
        }
        Entry entry;
        entry.at = at;
        const auto protocol = split(fields[2], ',');
        entry.protocol = protocol[0];
        if (!set_service(entry, first)) return;
        set_type(entry, fields[1]);
        set_user(entry, fields[4], import_.notes);
        entry.program = fields[5];
        entry.argv.assign(fields.begin() + 6, fields.end());
        if (!set_wait(entry, fields[3])) return;
        for (std::size_t i = 1; i < protocol.size(); ++i) set_option(entry, protocol[i]);
        add(entry);
    }

    void add(const Entry& entry) {
        const std::string family =
            entry.protocol.starts_with("tcp") || entry.protocol.starts_with("udp") ? entry.protocol.substr(3) : "4";
        told_ = told_ || family.empty() || family == "6";
        // Of several lines with the same socket, the last one counts.
        std::string socket = fmt::format("{} {}", entry.service, entry.protocol);
        for (const std::string& host : entry.hosts) socket += " " + host;
        const auto before = entry.off.empty() ? seen_.find(socket) : seen_.end();
        if (before != seen_.end()) {
            std::erase_if(import_.services, [&](const Imported& one) { return one.name == before->second.name; });
            import_.note(before->second.at, before->second.name, Fate::skipped,
                         fmt::format("line {} has the same socket and counts; left out", entry.at.line));
            seen_.erase(before);
        }
        const std::size_t count = import_.services.size();
        map_service(entry, guessed_, machine_, import_);
        if (import_.services.size() > count && entry.off.empty())
            seen_[socket] = {import_.services.back().name, entry.at};
    }

    /// [HOST,HOST…:]SERVICE, or a path; FreeBSD allows :USER:GROUP:MODE: before it.
    bool set_service(Entry& entry, std::string_view field) {
        if (entry.protocol == "unix" || field.starts_with('/')) {
            entry.service = field;
            const auto parts = split(field, ':');
            if (field.starts_with(':') && parts.size() >= 5) {
                entry.socket_user = parts[1];
                entry.socket_group = parts[2];
                entry.socket_mode = parts[3];
                entry.service = field.substr(static_cast<std::size_t>(parts[4].data() - field.data()));
            }
            return true;
        }
        const std::size_t colon = field.rfind(':');
        std::string_view hosts = sticky_;
        if (colon != std::string_view::npos) hosts = colon > 0 ? field.substr(0, colon) : "*";
        entry.service = colon != std::string_view::npos ? field.substr(colon + 1) : field;
        entry.hosts = hosts_of(hosts);
        if (entry.service.empty()) broken(entry.at, "has no service after the colon: left out");
        return !entry.service.empty();
    }

    static std::vector<std::string> hosts_of(std::string_view list) {
        std::vector<std::string> out;
        for (std::string_view host : split(list, ',')) {
            if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
            if (!host.empty()) out.emplace_back(host);
        }
        return out;
    }

    /// TYPE[,ACCEPT-MAX][:ACCEPT-FILTER]
    void set_type(Entry& entry, std::string_view field) {
        const std::size_t colon = std::min(field.find(':'), field.size());
        const std::string_view type = field.substr(0, colon);
        const std::size_t comma = std::min(type.find(','), type.size());
        entry.type = type.substr(0, comma);
        if (comma < type.size()) entry.instances = count_of(type.substr(comma + 1));
        if (colon < field.size())
            lost(entry, fmt::format("accept filter \"{}\": superd has none; see socket.defer_accept",
                                    field.substr(colon + 1)));
    }

    void lost(const Entry& entry, std::string_view why) {
        import_.note(entry.at, "", Fate::lost, fmt::format("\"{}\": {}", entry.service, why));
    }

    /// wait, nowait, nowait.60, nowait:60, nowait/10/30/5.
    bool set_wait(Entry& entry, const std::string& field) {
        const std::size_t end = std::min(field.find_first_of(".:/"), field.size());
        const std::string word = field.substr(0, end);
        if (word != "wait" && word != "nowait") {
            const bool strict = guessed_ == Dialect::freebsd || guessed_ == Dialect::netbsd;
            broken(entry.at, fmt::format("\"{}\" is neither wait nor nowait: {}", field,
                                         strict ? "left out" : "taken for nowait, as inetd does"));
            return !strict;
        }
        entry.wait = word == "wait";
        if (end == field.size()) return true;
        const bool slash = field[end] == '/';
        const auto parts = slash ? split(std::string_view(field).substr(end + 1), '/')
                                 : std::vector<std::string_view>{std::string_view(field).substr(end + 1)};
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const auto number = count_of(parts[i]);
            if (parts[i].empty() && slash) continue;
            if (!number || i > 2) {
                lost(entry, fmt::format("\"{}\" in \"{}\" is not a limit of inetd's", parts[i], field));
            } else if (*number > 0) {  // 0: no limit
                (!slash   ? entry.per_minute
                 : i == 0 ? entry.instances
                 : i == 1 ? entry.per_source_minute
                          : entry.per_source) = number;
            }
        }
        return true;
    }

    void set_option(Entry& entry, std::string_view option) {
        const std::size_t equals = std::min(option.find('='), option.size());
        const std::string_view name = option.substr(0, equals);
        const std::string size(option.substr(std::min(equals + 1, option.size())));
        if (name == "sndbuf") {
            entry.send_buffer = size;
        } else if (name == "rcvbuf") {
            entry.receive_buffer = size;
        } else {
            lost(entry, fmt::format("\"{}\" is not an option of inetd's", option));
        }
    }

    /// SERVICE on|off KEY = VALUE…; the rest of the line is read as a separate line.
    bool keys(const Origin& at, const Cursor& start, Cursor& cursor, const std::vector<std::string>& words) {
        Entry entry;
        entry.at = at;
        if (!set_service(entry, words[0])) return false;
        cursor = start;
        // After the switch, # begins a comment.
        const std::string_view name = std::string_view(words[1]).substr(0, words[1].find('#'));
        const std::size_t service = cursor.text.find(words[0], cursor.at);
        cursor.at = cursor.text.find(name, service + words[0].size()) + name.size();
        const auto read = read_keys(cursor, entry);
        if (!read) {
            broken({at.file, cursor.line}, read.error().text + ": nothing more is read, as NetBSD's inetd does");
            return false;
        }
        if (entry.protocol == "unix" || entry.service.starts_with('/')) entry.hosts = {"*"};
        if (name == "off") entry.off = "it is off";
        if (entry.hosts.size() == 1 && entry.off.empty()) infer_family(entry);
        add(entry);
        return true;
    }

    /// In this notation "tcp" has the family of its address.
    static void infer_family(Entry& entry) {
        if (entry.protocol != "tcp" && entry.protocol != "udp") return;
        const std::string& host = entry.hosts[0];
        if (is_address(host)) {
            entry.protocol += host.find(':') != std::string::npos ? "6" : "4";
        } else {
            entry.off =
                fmt::format("protocol = {} without an address does not say which family it means", entry.protocol);
        }
    }

    void include(const Origin& at, const std::vector<std::string>& fields) {
        if (guessed_ != Dialect::netbsd) return broken(at, "only NetBSD's inetd knows .include: left out");
        if (fields.size() != 2) return broken(at, ".include takes one path: left out");
        const std::string here = at.file.substr(0, at.file.rfind('/') + 1);
        const std::string path = fields[1].starts_with('/') ? fields[1] : here + fields[1];
        const std::string folder = path.substr(0, path.rfind('/') + 1), pattern = path.substr(path.rfind('/') + 1);
        const auto names = machine_.list(folder.empty() ? "." : folder);
        if (!names) return broken(at, fmt::format("{} cannot be read: {}", folder, names.error().text));
        bool any = false;
        for (const std::string& name : *names) {
            if (fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) != 0) continue;
            any = true;
            const auto text = machine_.read(folder + name);
            text ? read(folder + name, *text)
                 : broken(at, fmt::format("{}{} cannot be read: {}", folder, name, text.error().text));
        }
        if (!any) broken(at, fmt::format("{} is not there", path));
    }

    const Machine& machine_;
    const std::optional<Dialect> dialect_;
    Dialect guessed_ = Dialect::bsd;
    std::string sticky_ = "*";
    struct Seen {
        std::string name;
        Origin at;
    };
    std::map<std::string, Seen> seen_;  ///< services by their sockets
    bool told_ = false;                 ///< some line means something else in another dialect
    std::size_t files_ = 0;
    std::set<std::string> open_;  ///< being read: detects files that include each other
    Import import_;
};

}  // namespace

std::optional<std::vector<std::string>> words_of(std::string_view line, bool quotes) {
    std::vector<std::string> out;
    for (line = trimmed(line); !line.empty(); line = trimmed(line)) {
        const bool quoted = quotes && (line[0] == '"' || line[0] == '\'');
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

}  // namespace inetd

Import import_inetd(const std::string& file, std::string_view text, const Machine& machine,
                    std::optional<Dialect> dialect) {
    return inetd::Reader(machine, dialect).run(file, text);
}

}  // namespace superd::ctl
