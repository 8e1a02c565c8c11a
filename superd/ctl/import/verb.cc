// SPDX-License-Identifier: MIT
// superctl import: what it reads, where it writes, how it reports.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "conf/surroundings.h"
#include "ctl/import/check.h"
#include "ctl/import/writing.h"
#include "ctl/verbs.h"

namespace superd::ctl {

namespace {

/// Report once what a default means for many services.
void print_report(const Import& import) {
    const auto rest = [](const Note& note) { return std::tie(note.at.file, note.at.line, note.fate, note.text); };
    for (auto note = import.notes.begin(); note != import.notes.end(); ++note) {
        const auto is_same = [&](const Note& other) { return rest(other) == rest(*note); };
        if (std::find_if(import.notes.begin(), note, is_same) != note) continue;
        std::vector<std::string> services;
        for (auto same = note; same != import.notes.end(); ++same)
            if (is_same(*same) && !same->service.empty()) services.push_back(same->service);
        fmt::print(
            stderr, "{}: {}{}\n", escape(note->at.text()), note->fate == Fate::error ? "error: " : "",
            escape(services.empty() ? note->text : fmt::format("{}: {}", fmt::join(services, ", "), note->text)));
    }
}

std::string json_text(const Import& import, const std::vector<Target>& targets) {
    using nlohmann::json;
    const auto place = [](const Origin& at) {
        return json{{"file", at.file}, {"line", at.line > 0 ? json(at.line) : json(nullptr)}};
    };
    json services = json::array(), report = json::array();
    for (const Imported& service : import.services) {
        const auto target = std::ranges::find(targets, service.name, &Target::name);
        const bool is_there = target != targets.end();
        services.push_back({{"name", service.name},
                            {"enabled", service.enabled()},
                            {"from", place(service.at)},
                            {"path", is_there ? json(target->path) : json(nullptr)},
                            {"change", is_there ? json(name_of(target->change)) : json(nullptr)},
                            {"toml", definition_text(service)}});
    }
    for (const Note& note : import.notes) {
        json one = place(note.at);
        one["service"] = note.service.empty() ? json(nullptr) : json(note.service);
        one["fate"] = name_of(note.fate);
        one["text"] = note.text;
        report.push_back(std::move(one));
    }
    // Paths may contain any bytes; JSON is UTF-8.
    const bool ok = std::ranges::none_of(import.notes, [](const Note& note) { return note.fate == Fate::error; });
    return json{{"version", 1}, {"ok", ok}, {"services", services}, {"report", report}}.dump(
        -1, ' ', false, json::error_handler_t::replace);
}

/// What happens, or would happen, to files that exist.
void print_changes(const std::vector<Target>& targets, bool dry_run) {
    for (const Target& target : targets) {
        if (target.change == Change::unchanged || target.change == Change::created) continue;
        const bool kept = target.change == Change::kept;
        fmt::print(stderr, "{}: {}\n", escape(target.path),
                   kept      ? "kept, and would change by"
                   : dry_run ? "would be replaced"
                             : "replaced");
        for (const std::string& line : target.lines) fmt::print(stderr, "  {}\n", escape(line));
    }
}

std::string summary(const Import& import, const Request& request, const std::vector<Target>& targets) {
    if (request.output.empty()) return counted(import.services.size(), "service");
    const auto count = [&](Change change) { return std::ranges::count(targets, change, &Target::change); };
    const auto replaced = count(Change::replaced) + count(Change::forced), written = count(Change::created) + replaced;
    return fmt::format("{} {} {} ({} new, {} replaced, {} unchanged)",
                       counted(static_cast<std::size_t>(written), "service"),
                       request.dry_run ? "to be written to" : "written to", escape(request.output),
                       count(Change::created), replaced, count(Change::unchanged));
}

int run(const Request& request) {
    Import import = read_all(request);
    conf::Surroundings from = conf::surroundings();
    // inetd, xinetd and systemd are root, and so is the superd that takes their place.
    from.uid = 0;
    sys::Confinement& machine = from.confinement.emplace();
    machine.filter = machine.privileged = machine.mounts = machine.network = machine.ipc = machine.pids = true;
    from.gid = 0;
    fit(import, from);
    // An error that nothing can fix would keep everything else in the folder from loading.
    std::erase_if(import.services, [&](const Imported& service) {
        return std::ranges::any_of(import.notes, [&](const Note& note) {
            return note.fate == Fate::error && !note.service.empty() && note.service == service.name;
        });
    });
    std::vector<Target> targets;
    std::set<std::string> replaced;
    if (!request.output.empty()) {
        // Definitions that stay keep their addresses.
        for (const Target& target : compare(import, request))
            if (target.change != Change::kept) replaced.insert(target.name);
    }
    settle_conflicts(import, from, request.output, replaced);
    if (!request.output.empty()) {
        targets = compare(import, request);
        note_stale(import, request);
        if (!request.dry_run) write_services(import, request, targets);
    }
    std::ranges::stable_sort(import.notes, [](const Note& a, const Note& b) {
        return std::tie(a.at.file, a.at.line) < std::tie(b.at.file, b.at.line);
    });
    std::string out;
    if (request.json) {
        out = json_text(import, targets) + "\n";
    } else if (request.output.empty()) {
        for (const Imported& service : import.services)
            out += fmt::format("# {}.toml\n{}\n", service.name, definition_text(service));
    }
    const bool printed = std::fwrite(out.data(), 1, out.size(), stdout) == out.size() && std::fflush(stdout) == 0;
    if (!printed) import.note({"stdout", 0}, "", Fate::error, "cannot be written: " + std::string(errno_text(errno)));
    if (!request.json || !printed) {
        print_report(import);
        print_changes(targets, request.dry_run);
        fmt::print(stderr, "{}, {}\n", summary(import, request, targets), counted(import.notes.size(), "remark"));
    }
    return std::ranges::any_of(import.notes, [](const Note& note) { return note.fate == Fate::error; }) ? 1 : 0;
}

}  // namespace

void add_import(Command& command) {
    auto request = std::make_shared<Request>();
    Verb verb = command.arguments.verb("import", "convert another super-server's files to definitions");
    verb.option("format", request->format, "inetd, xinetd, systemd, stunnel or command")
        .required()
        .one_of({"inetd", "xinetd", "systemd", "stunnel", "command"})
        .type("FORMAT");
    verb.option("path", request->paths,
                "inetd.conf, xinetd.conf, stunnel.conf, .socket units, or folders of them; after \"command --\" a "
                "command's words")
        .required()
        .type("PATH");
    verb.option("--output", request->output, "write DIR/NAME.toml instead of stdout").type("DIR");
    verb.option("--dialect", request->dialect, "the inetd that the files are for (default: a guess, reported)")
        .one_of({"bsd", "openbsd", "netbsd", "freebsd", "gnu"})
        .type("DIALECT");
    verb.flag("--force", request->force, "also replace files that were edited or not imported");
    verb.flag("--dry-run", request->dry_run, "show what would change in DIR without writing");
    verb.act([&command, request] {
        request->json = command.json;
        command.status = run(*request);
    });
}

}  // namespace superd::ctl
