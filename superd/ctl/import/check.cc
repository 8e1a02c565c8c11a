// SPDX-License-Identifier: MIT
#include "ctl/import/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"
#include "conf/catalog.h"
#include "conf/listen.h"
#include "conf/read.h"
#include "conf/validate.h"
#include "sys/file.h"

namespace superd::ctl {

namespace {

/// Without these there is no service, or a different one; they stay, whatever check says.
bool is_essential(std::string_view key) {
    constexpr std::array<std::string_view, 12> essential{"listen",
                                                         "model",
                                                         "handoff",
                                                         "exec",
                                                         "argv0",
                                                         "user",
                                                         "group",
                                                         "supplementary_groups",
                                                         "working_directory",
                                                         "root_directory",
                                                         "socket.user",
                                                         "socket.group"};
    return std::ranges::find(essential, key) != essential.end();
}

std::vector<std::string> folders_of(const std::string& path) {
    std::vector<std::string> out;
    for (const std::string_view folder : split(path, ':')) {
        if (!folder.empty()) out.emplace_back(folder);
    }
    return out;
}

/// A definition's text as a service, with all its errors.
struct Checked {
    conf::toml::Source source;
    conf::toml::Value root;
    conf::Draft draft;
    conf::Diagnostics errors;

    Checked(const std::string& file, std::string text, const std::string& name, const conf::Surroundings& from)
        : source(file, std::move(text)) {
        auto tree = conf::toml::parse(source);
        if (!tree) {
            errors.push_back(std::move(tree.error()));
            return;
        }
        root = std::move(*tree);
        draft.file = file;
        draft.service.name = name;
        conf::read(root, conf::Scope::service, draft, errors);
        conf::Lookups lookups;
        conf::validate(draft, {from, lookups, folders_of(from.handler_path), true, true, nullptr}, errors);
    }
};

class Fitting {
  public:
    Fitting(Import& import, Imported& service, const conf::Surroundings& from)
        : import_(import), service_(service), from_(from) {}

    /// False: it cannot become a service, which has been noted.
    bool run() {
        // Each round takes out at least one setting, so this ends.
        while (round()) {
        }
        return fits_;
    }

  private:
    bool round() {
        std::map<int, std::string> lines;
        const Checked checked(service_.name, definition_text(service_, &lines), service_.name, from_);
        bool changed = false;
        std::vector<Note> missing;
        for (const conf::Diagnostic& error : checked.errors) {
            const auto line = lines.find(error.place.line);
            const std::string key = line != lines.end() ? line->second : "";
            const auto setting = service_.settings.find(key);
            // What confined the handler or kept clients out is not left out because this machine cannot do it, or has
            // no such file yet.
            const bool confines = error.local && (key.starts_with("sandbox.") || key.starts_with("tls."));
            if (setting == service_.settings.end() || is_essential(key) || confines) {
                const Origin& at = setting != service_.settings.end() ? setting->second.at : service_.at;
                const bool here = error.local;
                fits_ = fits_ && here;
                missing.push_back({at, here ? service_.name : "", here ? Fate::missing : Fate::skipped,
                                   here ? error.message + "; superctl check refuses the file until that is fixed"
                                        : fmt::format("\"{}\": {}; left out", service_.name, error.message)});
                continue;
            }
            const Origin at = setting->second.at;
            const std::string lost = fmt::format("{} = {}: {}", key, setting->second.toml, error.message);
            service_.settings.erase(setting);
            std::erase_if(import_.notes,
                          [&](const Note& note) { return note.key == key && note.service == service_.name; });
            changed = true;
            if (key.starts_with("access.")) {
                import_.disable(service_, at, lost + ": without it more clients would be let in");
            } else {
                import_.note(at, service_.name, Fate::lost, lost + "; left out");
            }
        }
        if (!changed) std::ranges::move(missing, std::back_inserter(import_.notes));
        return changed;
    }

    Import& import_;
    Imported& service_;
    const conf::Surroundings& from_;
    bool fits_ = true;
};

/// A name as a TOML key.
std::string bare_or_quoted(const std::string& name) {
    const bool bare = !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
    return bare ? name : toml_text(std::string_view(name));
}

struct Taken {
    conf::Listen listen;
    conf::SocketOptions socket;
    std::string by;
};

class Conflicts {
  public:
    Conflicts(Import& import, const conf::Surroundings& from) : import_(import), from_(from) {}

    void add_folder(const std::string& folder, const std::set<std::string>& replaced) {
        const auto names = sys::list_directory(folder);
        if (!names) return;  // not there yet; writing reports one that cannot be used
        for (const std::string& name : *names) {
            if (!name.ends_with(".toml") || name.starts_with('.')) continue;
            const std::string stem = name.substr(0, name.size() - 5), path = fmt::format("{}/{}", folder, name);
            auto text = sys::read_file(path, conf::kLargestFile);
            if (replaced.contains(stem) || !text) continue;
            const Checked checked(path, std::move(text->text), stem, from_);
            if (checked.draft.service.enabled) add(checked.draft.service, path);
        }
    }

    void settle(Imported& service) {
        if (!service.enabled()) return;
        const Checked checked(service.name, definition_text(service), service.name, from_);
        for (const conf::Listen& listen : checked.draft.service.listen) {
            const Taken* other = find(listen, checked.draft.service.socket);
            if (other == nullptr) continue;
            const auto setting = service.settings.find("listen");
            import_.disable(service, setting != service.settings.end() ? setting->second.at : service.at,
                            fmt::format("{} is taken by {}{}", listen.uri(), other->by,
                                        other->listen == listen ? "" : fmt::format(" ({})", other->listen.uri())));
            return;
        }
        add(checked.draft.service, fmt::format("\"{}\" ({})", service.name, service.at.text()));
    }

  private:
    void add(const conf::Service& service, const std::string& by) {
        for (const conf::Listen& listen : service.listen) taken_.push_back({listen, service.socket, by});
    }

    const Taken* find(const conf::Listen& listen, const conf::SocketOptions& socket) const {
        for (const Taken& other : taken_) {
            const conf::Overlap met = conf::overlap(listen, socket, other.listen, other.socket);
            const bool shared = socket.reuse_port && other.socket.reuse_port;
            if (met == conf::Overlap::same || (met == conf::Overlap::partial && !shared)) return &other;
        }
        return nullptr;
    }

    Import& import_;
    const conf::Surroundings& from_;
    std::vector<Taken> taken_;
};

}  // namespace

std::string definition_text(const Imported& service, std::map<int, std::string>* lines) {
    std::string out = fmt::format("# Imported from {}{}.\n", escape(service.at.file),
                                  service.at.line > 0 ? fmt::format(", line {}", service.at.line) : "");
    for (const std::string_view line : split(service.comment, '\n')) {
        if (!line.empty()) out += fmt::format("# {}\n", escape(line));
    }
    std::string section;
    for (const conf::Key& key : conf::keys()) {
        const std::string name = key.full_name();
        for (auto setting = service.settings.lower_bound(name); setting != service.settings.end(); ++setting) {
            // Variables are separate settings: environment.NAME.
            const bool part = name == "environment" && setting->first.starts_with("environment.");
            if (setting->first != name && !part) break;
            if (key.section != section) {
                section = key.section;
                out += fmt::format("\n[{}]\n", section);
            }
            const std::string variable = part ? "." + bare_or_quoted(setting->first.substr(name.size() + 1)) : "";
            out += fmt::format("{}{} = {}\n", key.name, variable, setting->second.toml);
            if (lines != nullptr) (*lines)[static_cast<int>(std::ranges::count(out, '\n'))] = setting->first;
        }
    }
    return out;
}

void fit(Import& import, const conf::Surroundings& from) {
    std::vector<Imported> fit;
    for (Imported& service : import.services) {
        if (Fitting(import, service, from).run()) fit.push_back(std::move(service));
    }
    import.services = std::move(fit);
}

void settle_conflicts(Import& import, const conf::Surroundings& from, const std::string& folder,
                      const std::set<std::string>& replaced) {
    Conflicts conflicts(import, from);
    if (!folder.empty()) conflicts.add_folder(folder, replaced);
    for (Imported& service : import.services) conflicts.settle(service);
}

}  // namespace superd::ctl
