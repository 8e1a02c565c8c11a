// SPDX-License-Identifier: MIT
// superctl import: what is read, where it is written, how it is reported.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "ctl/definitions.h"
#include "ctl/import/check.h"
#include "ctl/verbs.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace superd::ctl {

namespace {

constexpr std::size_t largest_file = std::size_t{1} << 22;

struct Request {
    std::string format;
    std::vector<std::string> paths;
    std::string output;
    bool force = false;
    bool json = false;
};

Result<std::string> read_text(const std::string& path) {
    auto file = sys::read_file(path, largest_file);
    if (!file) return std::unexpected(file.error());
    return std::move(file->text);
}

bool is_folder(const std::string& path) {
    const auto status = sys::status_of(path);
    return status && S_ISDIR(status->mode);
}

/// Names of the files in a folder, but hidden ones and editors' backups.
Result<std::vector<std::string>> files_in(const std::string& folder) {
    auto names = sys::list_directory(folder);
    if (!names) return names;
    std::erase_if(*names, [&](const std::string& name) {
        const auto status = sys::status_of(folder + "/" + name);
        return name.starts_with('.') || name.ends_with('~') || !status || !S_ISREG(status->mode);
    });
    return names;
}

class Reading {
  public:
    Import run(const Request& request) {
        for (std::string path : request.paths) {
            while (path.size() > 1 && path.ends_with('/')) path.pop_back();
            if (request.format == "inetd") {
                read_inetd(path);
            } else if (request.format == "xinetd") {
                read_xinetd(path);
            } else {
                read_units(path);
            }
        }
        if (request.format == "systemd") add(import_systemd(units_));
        return std::move(all_);
    }

  private:
    void cannot_read(const std::string& path, const Error& error) {
        all_.note({path, 0}, "", Fate::error, "cannot be read: " + error.text);
    }

    /// Services of different files may have one name.
    void add(Import import) {
        for (Imported& service : import.services) {
            const std::string name = free_name(all_.services, service.name, "2");
            if (name != service.name) {
                for (Note& note : import.notes) {
                    if (note.service == service.name) note.service = name;
                }
                service.name = name;
            }
            all_.services.push_back(std::move(service));
        }
        for (Note& note : import.notes) {
            // What holds for all services is said once.
            const bool said = note.at.line == 0 && note.service.empty() &&
                              std::ranges::find(all_.notes, note.text, &Note::text) != all_.notes.end();
            if (!said || note.fate != Fate::changed) all_.notes.push_back(std::move(note));
        }
    }

    void read_inetd(const std::string& path) {
        if (!is_folder(path)) {
            const auto text = read_text(path);
            return text ? add(import_inetd(path, *text)) : cannot_read(path, text.error());
        }
        const auto names = files_in(path);
        if (!names) return cannot_read(path, names.error());
        for (const std::string& name : *names) read_inetd(fmt::format("{}/{}", path, name));
    }

    void read_xinetd(const std::string& path) {
        const auto text = is_folder(path) ? Result<std::string>("includedir " + path) : read_text(path);
        if (!text) return cannot_read(path, text.error());
        add(import_xinetd(path, *text, {read_text, files_in}));
    }

    /// Of units that have one name the first counts, as /etc does before /usr/lib.
    void read_unit(const std::string& path, const std::string& name) {
        if (units_.files.contains(name)) return;
        const auto status = sys::status_of(path);
        // A link to /dev/null masks a unit: it is there, and says nothing.
        auto text = status && S_ISCHR(status->mode) ? Result<std::string>("") : read_text(path);
        if (!text) return cannot_read(path, text.error());
        units_.files[name] = {path, std::move(*text)};
    }

    static std::string folder_of(const std::string& path) {
        const std::size_t slash = path.rfind('/');
        return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
    }

    void read_units(const std::string& path) {
        if (!is_folder(path) && !path.ends_with(".socket"))
            return all_.note({path, 0}, "", Fate::skipped, "is no .socket unit: a service is imported with its socket");
        if (!is_folder(path)) return read_socket(path);
        const auto names = sys::list_directory(path);
        if (!names) return cannot_read(path, names.error());
        for (const std::string& name : *names) {
            if (name.ends_with(".socket")) read_socket(fmt::format("{}/{}", path, name));
        }
    }

    /// A socket with what stands beside it: it may be a link, as those in sockets.target.wants are.
    void read_socket(const std::string& path) {
        read_unit(path, path.substr(path.rfind('/') + 1));
        std::error_code error;
        const std::string real = std::filesystem::canonical(path, error).string();
        for (const std::string& folder : {folder_of(path), error ? "" : folder_of(real)}) {
            if (!folder.empty() && folders_.insert(folder).second) read_neighbours(folder);
        }
    }

    void read_neighbours(const std::string& folder) {
        const auto names = sys::list_directory(folder);
        if (!names) return cannot_read(folder, names.error());
        for (const std::string& name : *names) {
            const std::string file = fmt::format("{}/{}", folder, name);
            // Services that lead nowhere are of no interest before a socket wants them.
            if (name.ends_with(".service") && sys::status_of(file)) read_unit(file, name);
            if (name.ends_with(".service.d") || name.ends_with(".socket.d"))
                read_drop_ins(file, name.substr(0, name.size() - 2));
        }
    }

    void read_drop_ins(const std::string& folder, const std::string& unit) {
        const auto names = files_in(folder);
        if (!names) return cannot_read(folder, names.error());
        auto& drop_ins = units_.drop_ins[unit];
        for (const std::string& name : *names) {
            if (!name.ends_with(".conf")) continue;
            const std::string path = fmt::format("{}/{}", folder, name);
            auto text = read_text(path);
            if (!text) {
                cannot_read(path, text.error());
                continue;
            }
            drop_ins.push_back({path, std::move(*text)});
        }
        std::ranges::stable_sort(drop_ins, {},
                                 [](const Units::File& file) { return file.path.substr(file.path.rfind('/')); });
    }

    Import all_;
    Units units_;
    std::set<std::string> folders_;  ///< whose services and drop-ins have been read
};

Result<void> write_all(const sys::Fd& file, const std::string& path, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(file.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno("write " + path, errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

/// The file, there at once and whole. Without `force` one that is there already is left as it is.
Result<void> write_file(const std::string& folder, const std::string& name, std::string_view text, bool force) {
    const std::string path = fmt::format("{}/{}", folder, name),
                      hidden = fmt::format("{}/.{}.{}", folder, name, getpid());
    const sys::Fd file(open(hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!file) return fail_errno("create " + hidden, errno);
    Result<void> done = write_all(file, hidden, text);
    if (done && fchmod(file.get(), 0644) != 0) done = fail_errno("chmod " + hidden, errno);
    if (done && force && rename(hidden.c_str(), path.c_str()) != 0) done = fail_errno("rename to " + path, errno);
    if (done && !force && link(hidden.c_str(), path.c_str()) != 0) {
        done = errno == EEXIST ? fail(path + " is there already: not written (--force replaces it)")
                               : fail_errno("create " + path, errno);
    }
    if (!done || !force) unlink(hidden.c_str());
    return done;
}

/// Writes each service into the folder; the names of those that are there now.
std::set<std::string> write_services(Import& import, const Request& request) {
    std::set<std::string> written;
    if (mkdir(request.output.c_str(), 0755) != 0 && errno != EEXIST) {
        import.note({request.output, 0}, "", Fate::error, "cannot be made: " + std::string(errno_text(errno)));
        return written;
    }
    for (const Imported& service : import.services) {
        const auto done = write_file(request.output, service.name + ".toml", definition_text(service), request.force);
        if (done) {
            written.insert(service.name);
        } else {
            import.note(service.at, service.name, Fate::error, done.error().text);
        }
    }
    return written;
}

/// What one line of defaults means for many services is said once.
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

std::string json_text(const Import& import, const Request& request, const std::set<std::string>& written) {
    using nlohmann::json;
    const auto place = [](const Origin& at) {
        return json{{"file", at.file}, {"line", at.line > 0 ? json(at.line) : json(nullptr)}};
    };
    json services = json::array(), report = json::array();
    for (const Imported& service : import.services) {
        const bool is_written = written.contains(service.name);
        services.push_back(
            {{"name", service.name},
             {"enabled", service.enabled()},
             {"from", place(service.at)},
             {"path", is_written ? json(fmt::format("{}/{}.toml", request.output, service.name)) : json(nullptr)},
             {"toml", definition_text(service)}});
    }
    for (const Note& note : import.notes) {
        json one = place(note.at);
        one["service"] = note.service.empty() ? json(nullptr) : json(note.service);
        one["fate"] = name_of(note.fate);
        one["text"] = note.text;
        report.push_back(std::move(one));
    }
    // Paths may be anything; JSON is UTF-8.
    const bool ok = std::ranges::none_of(import.notes, [](const Note& note) { return note.fate == Fate::error; });
    return json{{"version", 1}, {"ok", ok}, {"services", services}, {"report", report}}.dump(
        -1, ' ', false, json::error_handler_t::replace);
}

int run(const Request& request) {
    Import import = Reading().run(request);
    conf::Surroundings from = surroundings({});
    from.uid = 0;  // inetd, xinetd and systemd are root, and so is the superd that takes their place
    from.gid = 0;
    fit(import, from);
    // What nothing can make good would keep everything else in the folder from being loaded.
    std::erase_if(import.services, [&](const Imported& service) {
        return std::ranges::any_of(import.notes, [&](const Note& note) {
            return note.fate == Fate::error && !note.service.empty() && note.service == service.name;
        });
    });
    settle_conflicts(import, from, request.output, request.force);
    std::set<std::string> written;
    if (!request.output.empty()) written = write_services(import, request);
    std::ranges::stable_sort(import.notes, [](const Note& a, const Note& b) {
        return std::tie(a.at.file, a.at.line) < std::tie(b.at.file, b.at.line);
    });
    std::string out;
    if (request.json) {
        out = json_text(import, request, written) + "\n";
    } else if (request.output.empty()) {
        for (const Imported& service : import.services)
            out += fmt::format("# {}.toml\n{}\n", service.name, definition_text(service));
    }
    const bool printed = std::fwrite(out.data(), 1, out.size(), stdout) == out.size() && std::fflush(stdout) == 0;
    if (!printed) import.note({"stdout", 0}, "", Fate::error, "cannot be written: " + std::string(errno_text(errno)));
    if (!request.json || !printed) {
        const std::size_t count = request.output.empty() ? import.services.size() : written.size();
        print_report(import);
        fmt::print(stderr, "{}{}, {}\n", counted(count, "service"),
                   request.output.empty() ? "" : " written to " + escape(request.output),
                   counted(import.notes.size(), "remark"));
    }
    return std::ranges::any_of(import.notes, [](const Note& note) { return note.fate == Fate::error; }) ? 1 : 0;
}

}  // namespace

void add_import(Command& command) {
    auto request = std::make_shared<Request>();
    Verb verb = command.arguments.verb("import", "make definitions of another super-server's files");
    verb.option("format", request->format, "inetd, xinetd or systemd")
        .required()
        .one_of({"inetd", "xinetd", "systemd"})
        .type("FORMAT");
    verb.option("path", request->paths, "inetd.conf, xinetd.conf, .socket units, or folders of them")
        .required()
        .type("PATH");
    verb.option("--output", request->output, "write DIR/NAME.toml; else everything goes to stdout").type("DIR");
    verb.flag("--force", request->force, "replace files that are there");
    verb.act([&command, request] {
        request->json = command.json;
        command.status = run(*request);
    });
}

}  // namespace superd::ctl
