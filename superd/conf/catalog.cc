// SPDX-License-Identifier: MIT
#include "conf/catalog.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <iterator>

#include "base/text.h"
#include "conf/listen.h"
#include "conf/read.h"
#include "conf/settings.h"
#include "conf/toml.h"
#include "conf/trust.h"
#include "conf/validate.h"
#include "sys/file.h"

namespace superd::conf {

namespace {

using toml::Value;

constexpr std::size_t largest_file = std::size_t{1} << 20;

bool is_skipped(const std::string& name) {
    if (!name.ends_with(".toml")) return true;
    return std::ranges::any_of(std::initializer_list<const char*>{".*", "*.dpkg-*", "*.rpm*"},
                               [&](const char* pattern) { return fnmatch(pattern, name.c_str(), 0) == 0; });
}

bool is_service_name(std::string_view name) {
    const auto is_plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return !name.empty() && is_plain(name[0]) && std::ranges::all_of(name, [&](char c) {
        return is_plain(c) || std::string_view("._@-").find(c) != std::string_view::npos;
    });
}

struct Definition {
    Value root;  ///< defaults, file and drop-ins in one
    Draft draft;
};

class Loader {
  public:
    explicit Loader(const Surroundings& from) : from_(from), trust_(from, errors_) {}

    std::expected<Catalog, Diagnostics> load(Diagnostics* warnings) {
        read_config();
        read_folder();
        check_addresses();
        for (auto& [name, definition] : definitions_)
            if (warnings != nullptr) std::ranges::move(definition.draft.warnings, std::back_inserter(*warnings));
        if (warnings != nullptr) sort(*warnings);
        if (!errors_.empty()) {
            sort(errors_);
            return std::unexpected(std::move(errors_));
        }
        Catalog catalog;
        for (auto& [name, definition] : definitions_)
            catalog.services.emplace(name, std::move(definition.draft.service));
        catalog.control.readers = settings_.readers;
        return catalog;
    }

  private:
    void complain(const std::string& file, std::string message) {
        errors_.push_back({Place{file, 0, 0, 1, {}}, std::move(message)});
    }

    /// Text of a file whose folder has been followed; nullopt after an error. What was opened is what is judged.
    std::optional<sys::FileText> read_text(const std::string& file) {
        std::string real = file;
        auto text = sys::read_file(file, largest_file, sys::Links::refuse);
        if (!text && text.error().code == ELOOP) {
            const auto target = trust_.follow(file);
            if (!target) return std::nullopt;
            real = *target;
            text = sys::read_file(file, largest_file);
        }
        if (!text) {
            complain(file, text.error().code != 0 ? "cannot be read: " + text.error().text : text.error().text);
            return std::nullopt;
        }
        trust_.judge(real, text->status);
        return std::move(*text);
    }

    /// nullopt after an error.
    std::optional<Value> read_tree(const std::string& file) {
        auto text = read_text(file);
        if (!text) return std::nullopt;
        auto tree = toml::parse(sources_.emplace_back(file, std::move(text->text)));
        if (tree) return std::move(*tree);
        errors_.push_back(std::move(tree.error()));
        return std::nullopt;
    }

    void read_config() {
        Value empty;
        settings_ = read_settings(empty, from_.handler_path, from_.names, errors_);
        if (from_.config.empty()) return;
        if (!from_.config_required) {
            const auto status = sys::status_of(from_.config);
            if (!status && status.error().code == ENOENT) return;
        }
        const auto tree = trust_.follow(from_.config) ? read_tree(from_.config) : std::nullopt;
        if (tree) {
            settings_ = read_settings(*tree, from_.handler_path, from_.names, errors_);
        } else {
            config_read_ = settings_.handler_path_known = false;
        }
    }

    void read_folder() {
        std::string folder = from_.conf_dir;
        while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
        if (!trust_.follow(folder)) return;
        const auto names = sys::list_directory(folder);
        if (!names) return complain(folder, "cannot be read: " + names.error().text);
        for (const std::string& name : *names) {
            const std::string file = fmt::format("{}/{}", folder, name);
            if (name.ends_with(".toml.d") && !is_skipped(name.substr(0, name.size() - 2))) {
                check_orphan(file, *names, name.substr(0, name.size() - 2));
            } else if (!is_skipped(name)) {
                read_service(file, name.substr(0, name.size() - 5), std::ranges::binary_search(*names, name + ".d"));
            }
        }
    }

    void check_orphan(const std::string& folder, const std::vector<std::string>& names, const std::string& file) {
        if (std::ranges::binary_search(names, file) || !sys::list_directory(folder)) return;
        complain(folder, fmt::format("a folder of drop-ins without its {}", file));
    }

    void read_service(const std::string& file, const std::string& name, bool has_drop_ins) {
        if (!is_service_name(name)) {
            return complain(
                file,
                fmt::format("\"{}\" is no name for a service: letters, digits and \"._@-\", a letter or digit first",
                            name));
        }
        Definition& definition = definitions_[name];
        bool complete = config_read_;
        definition.root = settings_.defaults;
        if (const auto tree = read_tree(file)) {
            toml::merge(definition.root, *tree);
        } else {
            complete = false;
        }
        if (has_drop_ins) complete = read_drop_ins(file + ".d", definition.root) && complete;
        Draft& draft = definition.draft;
        draft.file = file;
        draft.service.name = name;
        read(definition.root, Scope::service, draft, errors_);
        validate(
            draft,
            {from_, settings_.handler_path, complete, settings_.handler_path_known, settings_.defaults.spot.source},
            errors_);
    }

    bool read_drop_ins(const std::string& folder, Value& root) {
        if (!trust_.follow(folder)) return false;
        const auto names = sys::list_directory(folder);
        if (!names) {
            if (names.error().code == ENOENT || names.error().code == ENOTDIR) return true;
            complain(folder, "cannot be read: " + names.error().text);
            return false;
        }
        bool complete = true;
        for (const std::string& name : *names) {
            if (is_skipped(name)) continue;
            if (const auto tree = read_tree(fmt::format("{}/{}", folder, name))) {
                toml::merge(root, *tree);
            } else {
                complete = false;
            }
        }
        return complete;
    }

    // Only addresses in one bucket can be in each other's way.
    static std::string bucket_of(const Listen& listen) {
        switch (listen.transport) {
            case Transport::tcp:
                return fmt::format("tcp {}", listen.port);
            case Transport::udp:
                return fmt::format("udp {}", listen.port);
            default:
                return listen.path.starts_with('/') ? listen.path : listen.uri();
        }
    }

    struct Taken {
        const Draft* by;
        const Listen* listen;
        Place place;
    };

    void check_addresses() {
        std::map<std::string, std::vector<Taken>> buckets;
        for (const auto& [name, definition] : definitions_) {
            const Draft& draft = definition.draft;
            const Value* value = draft.get("listen");
            if (value == nullptr || draft.is_broken("listen") || draft.is_broken("enabled") || !draft.service.enabled)
                continue;
            const std::vector<const Value*> words = words_of(*value);
            for (std::size_t i = 0; i < words.size(); ++i) {
                const Listen& listen = draft.service.listen[i];
                check_address(buckets[bucket_of(listen)], {&draft, &listen, words[i]->spot.place()}, words[i]->text);
            }
        }
    }

    void check_address(std::vector<Taken>& others, Taken mine, const std::string& written) {
        for (const Taken& other : others) {
            if (other.by == mine.by) continue;
            const SocketOptions& socket = mine.by->service.socket;
            const SocketOptions& other_socket = other.by->service.socket;
            const Overlap met = overlap(*mine.listen, socket, *other.listen, other_socket);
            const bool shared = socket.reuse_port && other_socket.reuse_port;
            if (met == Overlap::none || (met == Overlap::partial && shared)) continue;
            const std::string whose =
                fmt::format("service \"{}\" ({}:{})", other.by->service.name, other.place.file, other.place.line);
            errors_.push_back(
                {mine.place, met == Overlap::same
                                 ? fmt::format("listen \"{}\": already taken by {}", written, whose)
                                 : fmt::format("listen \"{}\": overlaps {} of {}: both would need socket.reuse_port",
                                               written, other.listen->uri(), whose)});
            return;
        }
        others.push_back(std::move(mine));
    }

    const Surroundings& from_;
    Diagnostics errors_;
    Trust trust_;
    std::deque<toml::Source> sources_;  ///< values point into them
    Settings settings_;
    bool config_read_ = true;
    std::map<std::string, Definition> definitions_;
};

}  // namespace

std::expected<Catalog, Diagnostics> load(const Surroundings& from, Diagnostics* warnings) {
    return Loader(from).load(warnings);
}

}  // namespace superd::conf
