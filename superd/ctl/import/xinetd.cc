// SPDX-License-Identifier: MIT
// The text of xinetd.conf: entries, defaults, includes. xinetd ignores the case of all these words.
#include "ctl/import/xinetd.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"

namespace superd::ctl::xinetd {

namespace {

constexpr std::string_view blanks = " \t\r\f\v";
constexpr std::size_t most_files = 4096;

std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> out;
    for (std::size_t at = line.find_first_not_of(blanks); at != std::string_view::npos;) {
        const std::size_t end = std::min(line.find_first_of(blanks, at), line.size());
        out.emplace_back(line.substr(at, end - at));
        at = line.find_first_not_of(blanks, end);
    }
    return out;
}

/// The defaults that an entry has at its beginning; defaults later in the file do not count.
bool is_inherited_at_once(std::string_view name) {
    constexpr std::array<std::string_view, 6> names{"only_from", "no_access",      "passenv",
                                                    "banner",    "banner_success", "banner_fail"};
    return std::ranges::find(names, name) != names.end();
}

/// Whether two words of a set are the same: "10.0.0.0" and "10.0.0.0/8" are.
bool is_same(const std::string& a, const std::string& b) {
    if (lower(a) == lower(b)) return true;
    std::vector<std::string> names;
    const auto first = prefixes_of({a}, names), second = prefixes_of({b}, names);
    return names.empty() && first == second;
}

struct Line {
    Origin at;
    std::vector<std::string> words;
};

class Reader {
  public:
    Reader(const Machine& machine, Notes& notes) : machine_(machine), notes_(notes) {}

    void read(const std::string& file, std::string_view text) {
        if (++files_ > most_files) return complain({file, 0}, fmt::format("more than {} files: not read", most_files));
        if (!open_.insert(file).second) return complain({file, 0}, "includes itself: not read again");
        std::vector<Line> lines;
        int number = 0;
        for (const std::string_view line : split(text, '\n')) {
            const Origin at{file, ++number};
            std::vector<std::string> words = words_of(line);
            if (words.empty() || words[0].starts_with('#')) continue;
            if (!is_plain_text(line)) {
                complain(at, "is not UTF-8 text: left out");
                continue;
            }
            lines.push_back({at, std::move(words)});
        }
        for (std::size_t at = 0; at < lines.size();) begin(lines, at);
        open_.erase(file);
    }

    File result() {
        for (Entry& entry : file_.services) {
            for (const auto& [name, attribute] : file_.defaults) {
                if (name == "enabled" || name == "disabled" || is_inherited_at_once(name)) continue;
                entry.attributes.try_emplace(name, attribute);
            }
            if (entry.off.empty() && !refused_.empty()) {
                entry.off = refused_;
                entry.off_at = refused_at_;
            }
        }
        return std::move(file_);
    }

  private:
    void complain(const Origin& at, std::string why) { notes_.push_back({at, "", Fate::error, std::move(why)}); }
    void lost(const Origin& at, const std::string& service, std::string why) {
        notes_.push_back({at, service, Fate::lost, std::move(why)});
    }

    static bool is_alone(const Line& line, std::string_view brace) {
        return line.words.size() == 1 && line.words[0] == brace;
    }

    /// Everything up to the next closing brace.
    static void skip(const std::vector<Line>& lines, std::size_t& at) {
        while (at < lines.size() && !is_alone(lines[at], "}")) ++at;
        if (at < lines.size()) ++at;
    }

    void begin(const std::vector<Line>& lines, std::size_t& at) {
        const Line& line = lines[at++];
        const std::string keyword = lower(line.words[0]);
        const bool named = line.words.size() > 1;
        if (named && keyword == "include") return include(line.words[1], line.at);
        if (named && keyword == "includedir") return include_folder(line.words[1], line.at);
        if (keyword != "defaults" && (keyword != "service" || !named)) {
            complain(line.at,
                     fmt::format("\"{}\" is not service, defaults, include or includedir: left out with everything "
                                 "up to the next }}, as in xinetd",
                                 line.words[0]));
            return skip(lines, at);
        }
        if (at == lines.size() || !is_alone(lines[at], "{")) {
            complain(line.at,
                     "is not followed by a line with only {: left out with everything up to the next }, as in xinetd");
            if (at < lines.size()) ++at;
            return skip(lines, at);
        }
        ++at;
        if (keyword == "service") return entry(line, lines, at);
        if (has_defaults_) {
            complain(line.at, "defaults appear a second time: left out, as in xinetd");
            return skip(lines, at);
        }
        has_defaults_ = true;
        body(lines, at, file_.defaults, nullptr);
    }

    void entry(const Line& line, const std::vector<Line>& lines, std::size_t& at) {
        Entry entry;
        entry.service = line.words[1];
        entry.at = line.at;
        for (const auto& [name, attribute] : file_.defaults) {
            if (is_inherited_at_once(name)) entry.attributes.emplace(name, attribute);
        }
        body(lines, at, entry.attributes, &entry);
        file_.services.push_back(std::move(entry));
    }

    void include(const std::string& path, const Origin& at) {
        const auto text = machine_.read(path);
        if (!text) return complain(at, fmt::format("{} cannot be read: {}", path, text.error().text));
        read(path, *text);
    }

    void include_folder(const std::string& path, const Origin& at) {
        const auto names = machine_.list(path);
        if (!names) return complain(at, fmt::format("{} cannot be read: {}", path, names.error().text));
        for (const std::string& name : *names) {
            // xinetd.conf(5): this skips packages' backups.
            if (name.find('.') != std::string::npos || name.ends_with('~')) continue;
            include(fmt::format("{}/{}", path, name), at);
        }
    }

    /// NAME OP VALUE… up to the closing brace. `entry`: nullptr for defaults.
    void body(const std::vector<Line>& lines, std::size_t& at, Attributes& to, Entry* entry) {
        std::set<std::string> given;
        for (; at < lines.size(); ++at) {
            const Line& line = lines[at];
            if (is_alone(line, "}")) {
                ++at;
                return;
            }
            const std::string op = line.words.size() > 1 ? line.words[1] : "";
            if (op != "=" && op != "+=" && op != "-=") {
                const std::string why =
                    fmt::format("\"{}\" is not followed by =, += or -= between blanks", line.words[0]);
                complain(line.at, why);
                off(entry, line.at, why);
                return skip(lines, at);
            }
            assign(line, op, to, entry, given);
        }
        const Origin end = lines.back().at;
        complain(end, "an entry is not closed by a line with only }");
        off(entry, end, "it is not closed by a line with only }");
    }

    void assign(const Line& line, const std::string& op, Attributes& to, Entry* entry, std::set<std::string>& given) {
        const std::string own = lower(line.words[0]), name = own == "interface" ? "bind" : own,
                          service = entry != nullptr ? entry->service : "";
        const std::vector<std::string> words(line.words.begin() + 2, line.words.end());
        const Known* attribute = known(name);
        const bool is_default = entry == nullptr;
        if (attribute == nullptr || (is_default && !attribute->in_defaults) ||
            (!is_default && (name == "enabled" || name == "disabled"))) {
            return lost(line.at, service,
                        fmt::format("{} = {}: {}", line.words[0], fmt::join(words, " "),
                                    attribute == nullptr ? "not an attribute of xinetd's"
                                    : is_default         ? "xinetd takes it only in services"
                                                         : "xinetd takes it only in defaults"));
        }
        const bool set = attribute->values == kSet || (is_default && name == "log_type");
        if (!set && op != "=") return lost(line.at, service, fmt::format("{} {}: only = is allowed here", name, op));
        if (!set && given.contains(name))
            return lost(line.at, service, fmt::format("{} is given twice; the first counts", name));
        if (attribute->values > 0 && words.size() != static_cast<std::size_t>(attribute->values))
            return lost(line.at, service,
                        fmt::format("{} = {}: xinetd ignores it, since it takes {}", name, fmt::join(words, " "),
                                    counted(static_cast<std::size_t>(attribute->values), "value")));
        if (const std::string why = why_refused(name, op, words); !why.empty())
            return off(entry, line.at, fmt::format("{} {} {}: {}", name, op, fmt::join(words, " "), why));
        if (!is_default && name == "disable") {
            // xinetd stops reading here. The rest is read for whoever switches the service on.
            if (lower(words[0]) == "no") return entry->off.clear();
            given.insert(name);
            return off(entry, line.at, "disable = yes");
        }
        if (name == "flags" && given.contains("server_args")) entry->late_name = true;
        given.insert(name);
        apply(line.at, op, words, to[name], is_default);
    }

    static void apply(const Origin& at, const std::string& op, const std::vector<std::string>& values, Attribute& to,
                      bool is_default) {
        to.at = at;
        if (op == "-=") {
            std::erase_if(to.words, [&](const std::string& word) {
                return std::ranges::any_of(values, [&](const std::string& value) { return is_same(word, value); });
            });
            return;
        }
        // In defaults each = adds.
        if (op == "=" && !is_default) to.words.clear();
        to.words.insert(to.words.end(), values.begin(), values.end());
    }

    /// An entry that xinetd does not start; if it is in defaults, xinetd starts nothing at all.
    void off(Entry* entry, const Origin& at, const std::string& why) {
        if (entry == nullptr) {
            refused_ = fmt::format("xinetd does not start with these defaults: {}", why);
            refused_at_ = at;
        } else if (entry->off.empty()) {
            entry->off = why;
            entry->off_at = at;
        }
    }

    const Machine& machine_;
    Notes& notes_;
    std::size_t files_ = 0;
    std::set<std::string> open_;  ///< being read: detects files that include each other
    File file_;
    bool has_defaults_ = false;
    std::string refused_;  ///< what is wrong with the defaults
    Origin refused_at_;
};

const Attribute* listed(const File& file, std::string_view list) {
    const auto found = file.defaults.find(list);
    return found != file.defaults.end() ? &found->second : nullptr;
}

bool names(const Attribute& list, const std::string& id) {
    return std::ranges::any_of(list.words, [&](const std::string& word) { return lower(word) == lower(id); });
}

}  // namespace

File read(const std::string& file, std::string_view text, const Machine& machine, Notes& notes) {
    Reader reader(machine, notes);
    reader.read(file, text);
    return reader.result();
}

}  // namespace superd::ctl::xinetd

namespace superd::ctl {

Import import_xinetd(const std::string& file, std::string_view text, const Machine& machine) {
    Import import;
    xinetd::File read = xinetd::read(file, text, machine, import.notes);
    const xinetd::Attribute *enabled = xinetd::listed(read, "enabled"), *disabled = xinetd::listed(read, "disabled");
    for (xinetd::Entry& entry : read.services) {
        const auto given = entry.attributes.find("id");
        const std::string id = given != entry.attributes.end() ? given->second.words[0] : entry.service;
        if (entry.off.empty() && enabled != nullptr && !xinetd::names(*enabled, id)) {
            entry.off = "is not in enabled";
            entry.off_at = enabled->at;
        }
        if (entry.off.empty() && disabled != nullptr && xinetd::names(*disabled, id)) {
            entry.off = "is in disabled";
            entry.off_at = disabled->at;
        }
        xinetd::map_service(entry, machine, import);
    }
    return import;
}

}  // namespace superd::ctl
