// SPDX-License-Identifier: MIT
// The text of xinetd.conf: entries, defaults, includes.
#include "ctl/import/xinetd.h"

#include <fmt/format.h>

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

/// Attributes whose values are sets: += and -= work on them.
bool is_set(std::string_view name) {
    constexpr std::array<std::string_view, 8> sets{"only_from", "no_access", "log_on_success", "log_on_failure",
                                                   "passenv",   "env",       "enabled",        "disabled"};
    return std::ranges::find(sets, name) != sets.end();
}

struct Assignment {
    std::string name, op;
    std::vector<std::string> values;
    Origin at;
};

struct Block {
    std::string service;  ///< empty: defaults
    Origin at;
    std::vector<Assignment> assignments;
};

class Reader {
  public:
    Reader(const Includes& includes, Notes& notes) : includes_(includes), notes_(notes) {}

    void read(const std::string& file, std::string_view text) {
        if (++files_ > most_files) return complain({file, 0}, fmt::format("more than {} files: not read", most_files));
        if (!open_.insert(file).second) return complain({file, 0}, "includes itself: not read again");
        Block* block = nullptr;  // the one whose lines these are
        bool inside = false;     // past its brace
        int number = 0;
        for (const std::string_view line : split(text, '\n')) {
            const Origin at{file, ++number};
            std::vector<std::string> words = words_of(line);
            if (words.empty() || words[0].starts_with('#')) continue;
            if (!is_plain_text(line)) {
                complain(at, "is not UTF-8 text: left out");
                continue;
            }
            if (inside && words[0] == "}") {
                block = nullptr;
                inside = false;
            } else if (inside) {
                assign(*block, std::move(words), at);
            } else if (words[0] == "{" && block != nullptr) {
                inside = true;
            } else {
                block = begin(words, at);
                inside = block != nullptr && words.back() == "{";
            }
        }
        if (inside) complain({file, number}, "an entry is not closed by }");
        open_.erase(file);
    }

    File result() {
        File out;
        for (const Block& block : defaults_) apply(block, out.defaults, true);
        for (const Block& block : services_) {
            Entry& entry = out.services.emplace_back(Entry{block.service, block.at, out.defaults});
            entry.attributes.erase("enabled");
            entry.attributes.erase("disabled");
            apply(block, entry.attributes, false);
        }
        return out;
    }

  private:
    void complain(const Origin& at, std::string why) { notes_.push_back({at, "", Fate::error, std::move(why)}); }

    Block* begin(const std::vector<std::string>& words, const Origin& at) {
        const bool named = words.size() > 1 && words[1] != "{";
        if (words[0] == "defaults") return &defaults_.emplace_back(Block{"", at, {}});
        if (words[0] == "service" && named) return &services_.emplace_back(Block{words[1], at, {}});
        if (words[0] == "include" && named) {
            include(words[1], at);
        } else if (words[0] == "includedir" && named) {
            include_folder(words[1], at);
        } else {
            complain(at, fmt::format("\"{}\" begins none of service, defaults, include, includedir", words[0]));
        }
        return nullptr;
    }

    void include(const std::string& path, const Origin& at) {
        const auto text = includes_.read(path);
        if (!text) return complain(at, fmt::format("{} cannot be read: {}", path, text.error().text));
        read(path, *text);
    }

    void include_folder(const std::string& path, const Origin& at) {
        const auto names = includes_.list(path);
        if (!names) return complain(at, fmt::format("{} cannot be read: {}", path, names.error().text));
        for (const std::string& name : *names) {
            // xinetd.conf(5): so that packages' backups are not read.
            if (name.find('.') != std::string::npos || name.ends_with('~')) continue;
            include(fmt::format("{}/{}", path, name), at);
        }
    }

    /// NAME OP VALUE…; xinetd wants a blank before the operator, here it may be missing.
    void assign(Block& block, std::vector<std::string> words, const Origin& at) {
        std::string& name = words[0];
        if (const std::size_t equals = name.find('='); equals != std::string::npos && equals > 0) {
            const bool two = equals > 1 && (name[equals - 1] == '+' || name[equals - 1] == '-');
            const std::size_t op = two ? equals - 1 : equals;
            const std::string rest = name.substr(equals + 1), sign = name.substr(op, equals + 1 - op);
            name.erase(op);
            if (!rest.empty()) words.insert(words.begin() + 1, rest);
            words.insert(words.begin() + 1, sign);
        }
        const std::string op = words.size() > 1 ? words[1] : "";
        if (op != "=" && op != "+=" && op != "-=") {
            return complain(at, fmt::format("\"{}\" is not followed by =, += or -=: left out", words[0]));
        }
        block.assignments.push_back({words[0], op, {words.begin() + 2, words.end()}, at});
    }

    void apply(const Block& block, Attributes& to, bool defaults) {
        std::set<std::string, std::less<>> given;
        for (const Assignment& one : block.assignments) {
            const bool first = given.insert(one.name).second;
            if (!is_set(one.name) && one.op != "=") {
                notes_.push_back({one.at, block.service, Fate::lost,
                                  fmt::format("{} {}: only = is possible there", one.name, one.op)});
                continue;
            }
            if (!is_set(one.name) && !first) {
                notes_.push_back({one.at, block.service, Fate::lost,
                                  fmt::format("{} is given twice, and the first counts", one.name)});
                continue;
            }
            Attribute& attribute = to[one.name];
            attribute.at = one.at;
            std::vector<std::string>& words = attribute.words;
            if (one.op == "-=") {
                std::erase_if(words, [&](const std::string& word) {
                    return std::ranges::find(one.values, word) != one.values.end();
                });
            } else {
                // In defaults, and for env, each = adds.
                if (one.op == "=" && !(is_set(one.name) && (defaults || one.name == "env"))) words.clear();
                words.insert(words.end(), one.values.begin(), one.values.end());
            }
        }
    }

    const Includes& includes_;
    Notes& notes_;
    std::size_t files_ = 0;
    std::set<std::string> open_;  ///< being read: those that include each other
    std::vector<Block> defaults_;
    std::vector<Block> services_;
};

bool contains(const Attributes& attributes, std::string_view name, const std::string& word) {
    const auto found = attributes.find(name);
    return found != attributes.end() && std::ranges::find(found->second.words, word) != found->second.words.end();
}

}  // namespace

File read(const std::string& file, std::string_view text, const Includes& includes, Notes& notes) {
    Reader reader(includes, notes);
    reader.read(file, text);
    return reader.result();
}

}  // namespace superd::ctl::xinetd

namespace superd::ctl {

Import import_xinetd(const std::string& file, std::string_view text, const Includes& includes) {
    Import import;
    xinetd::File read = xinetd::read(file, text, includes, import.notes);
    for (xinetd::Entry& entry : read.services) {
        const auto id = entry.attributes.find("id");
        const bool has_id = id != entry.attributes.end() && !id->second.words.empty();
        const std::string name = has_id ? id->second.words[0] : entry.service;
        const bool only = read.defaults.contains("enabled") && !xinetd::contains(read.defaults, "enabled", name);
        const bool off = only || xinetd::contains(read.defaults, "disabled", name);
        Origin at;
        if (off) {
            at = read.defaults.find(only ? "enabled" : "disabled")->second.at;
            entry.attributes["disable"] = {{"yes"}, at};
        }
        const std::size_t before = import.services.size();
        xinetd::map_service(entry, import);
        for (std::size_t i = before; off && i < import.services.size(); ++i)
            import.note(at, import.services[i].name, Fate::disabled,
                        only ? "is not in enabled: written with enabled = false"
                             : "is in disabled: written with enabled = false");
    }
    if (!import.services.empty()) {
        import.note({file, 0}, "", Fate::changed,
                    "hosts.allow and hosts.deny, which xinetd consults unless flags has NOLIBWRAP, are not consulted; "
                    "[access] takes their place");
    }
    return import;
}

}  // namespace superd::ctl
