// SPDX-License-Identifier: MIT
#include "ctl/import/writing.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/text.h"
#include "conf/catalog.h"
#include "ctl/import/check.h"
#include "ctl/output.h"
#include "sys/file.h"

namespace superd::ctl {

namespace {

constexpr std::string_view first_words = "# Imported from ";
constexpr std::string_view seal = "# Checksum of this import: ";

/// FNV-1a: it detects edits, not malice.
std::uint64_t checksum(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

std::string sealed(const std::string& text) {
    return fmt::format("{}{}{:016x}. Another import replaces the file unless it has been edited.\n", text, seal,
                       checksum(text));
}

bool is_unedited(const std::string& text) {
    const std::size_t at = text.rfind(seal);
    return at != std::string::npos && sealed(text.substr(0, at)) == text;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    for (const std::string_view line : split(text, '\n')) {
        if (!line.empty() && !line.starts_with(seal)) out.emplace_back(line);
    }
    return out;
}

/// An import does not depend on the order of lines in a definition.
std::vector<std::string> difference(const std::string& before, const std::string& after) {
    std::vector<std::string> out, gone = lines_of(before), added = lines_of(after);
    std::erase_if(added, [&](const std::string& line) {
        const auto same = std::ranges::find(gone, line);
        if (same == gone.end()) return false;
        gone.erase(same);
        return true;
    });
    for (const std::string& line : gone) out.push_back("- " + line);
    for (const std::string& line : added) out.push_back("+ " + line);
    return out;
}

Change change_of(const Result<sys::FileText>& there, const std::string& text, bool force) {
    if (!there) return there.error().code == ENOENT ? Change::created : force ? Change::forced : Change::kept;
    if (there->text == text || there->text == sealed(text)) return Change::unchanged;
    if (is_unedited(there->text)) return Change::replaced;
    return force ? Change::forced : Change::kept;
}

}  // namespace

const char* name_of(Change change) {
    switch (change) {
        case Change::created:
            return "created";
        case Change::unchanged:
            return "unchanged";
        case Change::replaced:
        case Change::forced:
            return "replaced";
        case Change::kept:
            return "kept";
    }
    return "";
}

std::vector<Target> compare(const Import& import, const Request& request) {
    std::vector<Target> out;
    for (const Imported& service : import.services) {
        Target target;
        target.name = service.name;
        target.path = fmt::format("{}/{}.toml", request.output, service.name);
        const auto there = sys::read_file(target.path, conf::kLargestFile);
        const std::string text = definition_text(service);
        target.change = change_of(there, text, request.force);
        if (there && target.change != Change::unchanged) target.lines = difference(there->text, text);
        out.push_back(std::move(target));
    }
    return out;
}

void write_services(Import& import, const Request& request, std::vector<Target>& targets) {
    if (mkdir(request.output.c_str(), 0755) != 0 && errno != EEXIST) {
        import.note({request.output, 0}, "", Fate::error, "cannot be created: " + std::string(errno_text(errno)));
        targets.clear();
        return;
    }
    std::erase_if(targets, [&](const Target& target) {
        const auto service = std::ranges::find(import.services, target.name, &Imported::name);
        if (service == import.services.end()) return true;
        if (target.change == Change::kept) {
            import.note(service->at, target.name, Fate::error,
                        fmt::format("{} exists, and was edited or not imported: not written (--force replaces "
                                    "it)",
                                    target.path));
        }
        if (target.change == Change::kept || target.change == Change::unchanged) return false;
        const auto done = write_file(request.output, target.name + ".toml", sealed(definition_text(*service)),
                                     target.change != Change::created);
        if (!done) import.note(service->at, target.name, Fate::error, done.error().text);
        return !done;
    });
}

void note_stale(Import& import, const Request& request) {
    std::set<std::string> files;
    for (const Imported& service : import.services) files.insert(escape(service.at.file));
    for (const Note& note : import.notes) files.insert(escape(note.at.file));
    const auto names = sys::list_directory(request.output);
    if (!names) return;  // not there yet
    for (const std::string& name : *names) {
        if (!name.ends_with(".toml") || name.starts_with('.')) continue;
        const std::string stem = name.substr(0, name.size() - 5), path = fmt::format("{}/{}", request.output, name);
        if (std::ranges::find(import.services, stem, &Imported::name) != import.services.end()) continue;
        const auto there = sys::read_file(path, conf::kLargestFile);
        if (!there || !there->text.starts_with(first_words)) continue;
        const std::string line = there->text.substr(0, there->text.find('\n'));
        const std::string from = line.substr(first_words.size(), line.rfind('.') - first_words.size());
        const std::string file = from.substr(0, from.rfind(", line "));
        if (files.contains(file))
            import.note({path, 0}, stem, Fate::changed,
                        fmt::format("{} no longer has this service: file left in place", file));
    }
}

}  // namespace superd::ctl
