// SPDX-License-Identifier: MIT
#include "ctl/import/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace superd::ctl {

namespace command {

namespace {

constexpr std::array<
    std::pair<std::string_view, void (*)(const std::vector<std::string>&, const Machine&, Imported&, Import&)>, 7>
    known{{{"tcpserver", map_tcpserver},
           {"tcpsvd", map_ipsvd},
           {"udpsvd", map_ipsvd},
           {"socat", map_socat},
           {"ncat", map_ncat},
           {"nc", map_ncat},
           {"systemd-socket-activate", map_activate}}};

}  // namespace

const std::string* Options::find(std::string_view name) const {
    const auto found = std::ranges::find(given.rbegin(), given.rend(), name, &Option::name);
    return found != given.rend() ? &found->value : nullptr;
}

Result<Options> read_options(const std::vector<std::string>& words, std::string_view valued, bool mixed) {
    const auto takes_value = [&](const std::string& name) {
        return fmt::format(" {} ", valued).find(fmt::format(" {} ", name)) != std::string::npos;
    };
    Options out;
    std::size_t at = 0;
    const auto value_of = [&](Options::Option option, std::string_view rest, bool joined) -> Result<void> {
        if (joined) {
            option.value = rest;
        } else if (++at < words.size()) {
            option.value = words[at];
        } else {
            return fail(fmt::format("{} has no value", option.name));
        }
        out.given.push_back(std::move(option));
        return {};
    };
    for (; at < words.size(); ++at) {
        const std::string& word = words[at];
        if (word == "--") {
            ++at;
            break;
        }
        if (word.size() < 2 || word[0] != '-') {
            if (!mixed) break;
            out.rest.push_back(word);
            continue;
        }
        Result<void> done;
        if (word[1] == '-') {
            const std::size_t equals = std::min(word.find('='), word.size());
            const std::string name = word.substr(0, equals);
            if (takes_value(name)) {
                done = value_of({name, ""}, word.substr(std::min(equals + 1, word.size())), equals < word.size());
            } else {
                out.given.push_back({name, ""});
            }
        } else {
            const std::string letters = word;  // `words` does not change, but `at` moves
            for (std::size_t i = 1; i < letters.size() && done; ++i) {
                const std::string name{'-', letters[i]};
                if (!takes_value(name)) {
                    out.given.push_back({name, ""});
                    continue;
                }
                done = value_of({name, ""}, std::string_view(letters).substr(i + 1), i + 1 < letters.size());
                break;
            }
        }
        if (!done) return std::unexpected(done.error());
    }
    out.rest.insert(out.rest.end(), words.begin() + static_cast<std::ptrdiff_t>(std::min(at, words.size())),
                    words.end());
    return out;
}

void set_program(Import& import, Imported& out, std::vector<std::string> argv, const std::string& folder) {
    const std::string given = argv[0];
    // A relative path is relative to the folder in which the command is given.
    if (given.find('/') != std::string::npos && !given.starts_with('/')) {
        argv[0] = fmt::format("{}/{}", folder, given.starts_with("./") ? given.substr(2) : given);
        import.note(out.at, out.name, Fate::changed, fmt::format("{} is looked up in {}", given, folder));
    }
    out.set("exec", argv, out.at);
}

std::vector<std::string> uris(Import& import, const Imported& out, const Machine& machine, std::string_view protocol,
                              std::string host, const std::string& port, std::string_view family) {
    std::vector<std::string> listen;
    const bool all = host.empty() || host == "0" || host == "*";
    if (all) host = family == "6" ? "::" : family == "4" ? "0.0.0.0" : "*";
    for (const std::string& address : all ? std::vector{host} : listen_addresses(machine, host, family))
        listen.push_back(inet_uri(protocol, address, port));
    if (listen.empty())
        import.note(out.at, "", Fate::skipped, fmt::format("\"{}\" has no address to listen on now; left out", host));
    return listen;
}

}  // namespace command

Import import_command(const std::vector<std::string>& words, const Machine& machine) {
    Import import;
    const Origin at{"command", 0};
    if (words.empty()) {
        import.note(at, "", Fate::error, "no words follow import command --");
        return import;
    }
    const std::string program = words[0].substr(words[0].rfind('/') + 1);
    const auto found = std::ranges::find_if(command::known, [&](const auto& one) { return one.first == program; });
    if (found == command::known.end()) {
        import.note(at, "", Fate::error,
                    fmt::format("\"{}\" is not one of tcpserver, tcpsvd, udpsvd, socat, ncat, systemd-socket-activate",
                                program));
        return import;
    }
    if (!std::ranges::all_of(words, is_plain_text)) {
        import.note(at, "", Fate::error, "is not UTF-8 text");
        return import;
    }
    Imported out;
    out.at = at;
    out.name = "service";
    out.comment = fmt::format("{}", fmt::join(words, " "));
    found->second({words.begin() + 1, words.end()}, machine, out, import);
    const bool left_out = std::ranges::any_of(
        import.notes, [](const Note& note) { return note.fate == Fate::error || note.fate == Fate::skipped; });
    if (left_out) return import;
    // The service is named after its program.
    const std::string wanted = service_name(out.name);
    for (Note& note : import.notes) note.service = wanted;
    out.name = wanted;
    import.services.push_back(std::move(out));
    return import;
}

}  // namespace superd::ctl
