// SPDX-License-Identifier: MIT
#include "conf/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <iterator>
#include <memory>
#include <utility>

#include "base/text.h"
#include "conf/addresses.h"
#include "conf/consultations.h"
#include "conf/names.h"
#include "conf/read.h"
#include "conf/settings.h"
#include "conf/toml.h"
#include "conf/trust.h"
#include "conf/validate.h"
#include "sys/file.h"

namespace superd::conf {

namespace {

using toml::Value;

struct Definition {
    std::deque<toml::Source> sources;  ///< values point into them
    Value root;                        ///< defaults, file and drop-ins in one
    Draft draft;
    bool knowable = true;  ///< by `files`
    Seen::Files files;
};

struct Asking {
    std::string file, name;
    bool has_drop_ins;
};

/// One load. It keeps what it has read of a definition only when it reports errors: with thousands of definitions, this
/// is most of a load's memory.
class Loader {
  public:
    Loader(const Surroundings& from, Consultations& consultations, bool tells_errors)
        : from_(from), consultations_(consultations), tells_errors_(tells_errors), trust_(from, errors_) {}

    /// False: there are errors; they are complete if it reports them.
    bool load(const Catalog* running, const Seen* before) {
        running_ = running;
        if (from_.command) {
            read_command(*from_.command);
        } else {
            read_config();
            if (before != nullptr && is_as_before(*before)) before_ = before;
            read_folder();
        }
        read_those_that_ask();
        const bool free = tells_errors_ ? check_addresses() : errors_.empty() && addresses_are_free();
        return keys_are_apart() && free;
    }

    Diagnostics take_errors() {
        sort(errors_);
        return std::move(errors_);
    }
    Diagnostics take_warnings() { return std::move(warnings_); }
    const std::set<std::string>& files() const { return lookups_.files(); }
    Reload take() {
        Reload done{std::move(catalog_), std::move(kept_), std::move(seen_)};
        for (auto& [name, definition] : definitions_)
            done.catalog.services.emplace(name, std::move(definition->draft.service));
        done.catalog.control.readers = settings_.readers;
        done.catalog.shutdown.drain = settings_.drain;
        done.catalog.watch = settings_.watch;
        done.seen.lookups = std::move(lookups_);
        done.seen.names = from_.names.answers();
        done.seen.cgroup = from_.cgroup;
        return done;
    }

  private:
    void complain(const std::string& file, std::string message) {
        errors_.push_back({Place{file, 0, 0, 1, {}}, std::move(message)});
    }

    /// The text of a file whose folder has been followed; nullopt after an error. Judges the opened file itself.
    std::optional<sys::FileText> read_text(const std::string& file) {
        std::string real = file;
        auto text = sys::read_file(file, kLargestFile, sys::Links::refuse);
        if (!text && text.error().code == ELOOP) {
            const auto target = trust_.follow(file);
            if (!target) return std::nullopt;
            real = *target;
            text = sys::read_file(file, kLargestFile);
        }
        if (!text) {
            complain(file, text.error().code != 0 ? "cannot be read: " + text.error().text : text.error().text);
            return std::nullopt;
        }
        trust_.judge(real, text->status);
        return std::move(*text);
    }

    /// nullopt after an error. `stamp`: of the read file, if its changes can be recognised.
    std::optional<Value> read_tree(const std::string& file, std::deque<toml::Source>& sources,
                                   std::optional<sys::FileStamp>& stamp) {
        auto text = read_text(file);
        stamp.reset();
        if (!text) return std::nullopt;
        if (sys::tells_changes(text->stamp, time_)) stamp = text->stamp;
        auto tree = toml::parse(sources.emplace_back(file, std::move(text->text)));
        if (tree) return std::move(*tree);
        errors_.push_back(std::move(tree.error()));
        return std::nullopt;
    }

    /// The stamp of a file that need not be read; nullopt: it must be.
    std::optional<sys::FileStamp> stamp_of(const std::string& file) {
        auto stamp = sys::stamp_of(file, sys::Links::refuse);
        if (!stamp && stamp.error().code == ELOOP && trust_.follow(file))
            stamp = sys::stamp_of(file, sys::Links::follow);
        return stamp ? std::optional(*stamp) : std::nullopt;
    }

    void read_config() {
        Value empty;
        settings_ = read_settings(empty, from_.handler_path, from_.names, errors_);
        seen_.sound = true;
        if (from_.config.empty()) return;
        if (!from_.config_required) {
            const auto status = sys::status_of(from_.config);
            if (!status && status.error().code == ENOENT) return;
        }
        const auto tree = trust_.follow(from_.config) ? read_tree(from_.config, sources_, seen_.config) : std::nullopt;
        seen_.sound = seen_.config.has_value();
        if (tree) {
            settings_ = read_settings(*tree, from_.handler_path, from_.names, errors_);
        } else {
            config_read_ = settings_.handler_path_known = false;
        }
    }

    /// Except for the definitions themselves. Questions for services that are long gone are repeated at each reload, so
    /// start afresh once in a while.
    bool is_as_before(const Seen& before) {
        const std::size_t fair = kFewQuestions + kQuestionsOfOne * before.files.size();
        return before.sound && seen_.sound && before.config == seen_.config && before.cgroup == from_.cgroup &&
               before.lookups.size() + before.names.size() <= fair && from_.names.as_before(before.names) &&
               lookups_.as_before(before.lookups);
    }

    void read_folder() {
        std::string folder = from_.conf_dir;
        while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
        if (!trust_.follow(folder)) return;
        const auto names = sys::list_directory(folder);
        if (!names) return complain(folder, "cannot be read: " + names.error().text);
        for (const std::string& name : *names) {
            if (!tells_errors_ && !errors_.empty()) return;
            const std::string file = folder + "/" + name;
            if (name.ends_with(".toml.d") && is_definition(name.substr(0, name.size() - 2))) {
                check_orphan(file, *names, name.substr(0, name.size() - 2));
            } else if (is_definition(name)) {
                const bool has_drop_ins = std::ranges::binary_search(*names, name + ".d");
                const std::string service = name.substr(0, name.size() - 5);
                if (!keep(file, service, has_drop_ins)) read_service(file, service, has_drop_ins);
            }
        }
    }

    void check_orphan(const std::string& folder, const std::vector<std::string>& names, const std::string& file) {
        if (std::ranges::binary_search(names, file) || !sys::list_directory(folder)) return;
        complain(folder, fmt::format("a folder of drop-ins without its {}", file));
    }

    /// False: it must be read.
    bool keep(const std::string& file, const std::string& name, bool has_drop_ins) {
        if (before_ == nullptr) return false;
        const auto known = before_->files.find(name);
        if (known == before_->files.end() || !running_->services.contains(name)) return false;
        const auto stamp = stamp_of(file);
        if (stamp != known->second.definition) return false;
        std::vector<std::pair<std::string, sys::FileStamp>> drop_ins;
        if (has_drop_ins) {
            const std::string folder = file + ".d";
            const auto names = trust_.follow(folder) ? sys::list_directory(folder) : fail("");
            if (!names) return false;
            for (const std::string& drop_in : *names) {
                if (!is_definition(drop_in)) continue;
                const auto of_it = stamp_of(fmt::format("{}/{}", folder, drop_in));
                if (!of_it) return false;
                drop_ins.emplace_back(drop_in, *of_it);
            }
        }
        if (drop_ins != known->second.drop_ins) return false;
        kept_.insert(kept_.end(), name);
        seen_.files.emplace_hint(seen_.files.end(), name, known->second);
        return true;
    }

    void read_service(const std::string& file, const std::string& name, bool has_drop_ins) {
        if (!is_service_name(name)) {
            return complain(
                file, fmt::format("\"{}\" is not a service name: letters, digits and \"._@-\", a letter or digit first",
                                  name));
        }
        const auto errors = errors_.size();
        auto definition = std::make_unique<Definition>();
        bool complete = config_read_;
        definition->root = settings_.defaults;
        std::optional<sys::FileStamp> stamp;
        if (auto tree = read_tree(file, definition->sources, stamp)) {
            toml::merge(definition->root, std::move(*tree));
        } else {
            complete = false;
        }
        definition->knowable = stamp.has_value();
        definition->files.definition = stamp.value_or(sys::FileStamp{});
        if (has_drop_ins) complete = read_drop_ins(file + ".d", *definition) && complete;
        resolve(std::move(definition), {file, name, has_drop_ins}, complete, errors);
    }

    void read_command(const CommandLine& command) {
        settings_ = read_settings(Value(), from_.handler_path, from_.names, errors_);
        auto definition = std::make_unique<Definition>();
        definition->knowable = false;
        const std::size_t errors = errors_.size();
        const toml::Source& line = definition->sources.emplace_back(kCommandLine, shown(command));
        definition->root = definition_of(command, line, errors_);
        resolve(std::move(definition), {kCommandLine, kServed, false}, errors_.size() == errors, errors);
    }

    /// `errors`: how many there were before this definition's own.
    void resolve(std::unique_ptr<Definition> definition, const Asking& whose, bool complete, std::size_t errors) {
        const std::string& name = whose.name;
        Draft& draft = definition->draft;
        draft.file = whose.file;
        draft.service.name = name;
        read(definition->root, Scope::service, draft, errors_);
        validate(draft,
                 {from_, lookups_, settings_.handler_path, complete, settings_.handler_path_known,
                  settings_.defaults.spot.source, &consultations_},
                 errors_);
        // If it is wrong anyway, nobody needs the answer.
        if (draft.asks && errors_.size() == errors) return asking_.push_back(whose);
        std::ranges::move(draft.warnings, std::back_inserter(warnings_));
        if (definition->knowable) seen_.files.emplace_hint(seen_.files.end(), name, std::move(definition->files));
        if (tells_errors_)
            definitions_.emplace(name, std::move(definition));
        else
            catalog_.services.emplace_hint(catalog_.services.end(), name, std::move(draft.service));
    }

    /// Once more, with the answers. Those that could not be asked yet are asked then.
    void read_those_that_ask() {
        while (!asking_.empty() && (tells_errors_ || errors_.empty())) {
            consultations_.settle();
            for (const Asking& one : std::exchange(asking_, {}))
                from_.command ? read_command(*from_.command) : read_service(one.file, one.name, one.has_drop_ins);
        }
    }

    bool read_drop_ins(const std::string& folder, Definition& definition) {
        if (!trust_.follow(folder)) return false;
        const auto names = sys::list_directory(folder);
        if (!names) {
            if (names.error().code == ENOENT || names.error().code == ENOTDIR) return true;
            complain(folder, "cannot be read: " + names.error().text);
            return false;
        }
        bool complete = true;
        for (const std::string& name : *names) {
            if (!is_definition(name)) continue;
            std::optional<sys::FileStamp> stamp;
            if (auto tree = read_tree(fmt::format("{}/{}", folder, name), definition.sources, stamp)) {
                toml::merge(definition.root, std::move(*tree));
            } else {
                complete = false;
            }
            definition.knowable = definition.knowable && stamp;
            if (stamp) definition.files.drop_ins.emplace_back(name, *stamp);
        }
        return complete;
    }

    /// Compares what was read with itself and with what is kept, which has been compared with itself before.
    bool addresses_are_free() const {
        Addresses taken;
        for (const auto& [name, service] : catalog_.services) {
            if (!service.enabled) continue;
            for (const Listen& listen : service.listen) {
                const Addresses::Taken mine{&service, &listen};
                if (taken.in_the_way(mine)) return false;
                taken.add(mine);
            }
        }
        if (catalog_.services.empty()) return true;
        for (const std::string& name : kept_) {
            const Service& service = running_->services.at(name);
            if (!service.enabled) continue;
            for (const Listen& listen : service.listen)
                if (taken.in_the_way({&service, &listen})) return false;
        }
        return true;
    }

    /// Calls `act` with each definition, and its draft where errors are told.
    template <class Act>
    void each_service(Act act) const {
        for (const auto& [name, service] : catalog_.services) act(service, nullptr);
        for (const auto& [name, definition] : definitions_) act(definition->draft.service, &definition->draft);
        for (const std::string& name : kept_) act(running_->services.at(name), nullptr);
    }

    /// No handler may be of the user who has the keys of a service. Each has been compared with its own.
    bool keys_are_apart() {
        std::map<uid_t, std::pair<const Service*, const Draft*>> holders;
        each_service([&](const Service& service, const Draft* draft) {
            if (service.tls->on && service.tls->identity)
                holders.try_emplace(service.tls->identity->uid, &service, draft);
        });
        bool apart = true;
        if (holders.empty()) return apart;
        each_service([&](const Service& service, const Draft*) {
            const auto& handler = service.handler.identity;
            const auto found = handler ? holders.find(handler->uid) : holders.end();
            if (found == holders.end() || found->second.first == &service) return;
            apart = false;
            const auto& [holder, draft] = found->second;
            if (draft == nullptr) return;
            const Value* value = draft->get("tls.user");
            const auto section = draft->sections.find("tls");
            errors_.push_back({value != nullptr ? value->spot.place() : section->second.place(),
                               fmt::format("tls.user \"{}\" is the user of the handlers of service \"{}\" too, which "
                                           "could take the key",
                                           holder->tls->identity->user, service.name)});
        });
        return apart;
    }

    bool check_addresses() {
        Addresses taken;
        for (const auto& [name, definition] : definitions_) {
            const Draft& draft = definition->draft;
            const Value* value = draft.get("listen");
            if (value == nullptr || draft.is_broken("listen") || draft.is_broken("enabled") || !draft.service.enabled)
                continue;
            const std::vector<const Value*> words = words_of(*value);
            for (std::size_t i = 0; i < words.size(); ++i)
                check_address(taken, {&draft.service, &draft.service.listen[i], words[i]});
        }
        return errors_.empty();
    }

    void check_address(Addresses& taken, const Addresses::Taken& mine) {
        const auto other = taken.in_the_way(mine);
        if (!other) return taken.add(mine);
        const Place place = other->word->spot.place();
        const std::string whose = fmt::format("service \"{}\" ({}:{})", other->by->name, place.file, place.line);
        errors_.push_back({mine.word->spot.place(),
                           other->how == Overlap::same
                               ? fmt::format("listen \"{}\": already taken by {}", mine.word->text, whose)
                               : fmt::format("listen \"{}\": overlaps {} of {}: both would need socket.reuse_port",
                                             mine.word->text, other->listen->uri(), whose)});
    }

    static constexpr std::size_t kFewQuestions = 256, kQuestionsOfOne = 16;

    const Surroundings& from_;
    Consultations& consultations_;
    const bool tells_errors_;
    const std::chrono::nanoseconds time_ = std::chrono::system_clock::now().time_since_epoch() + from_.ahead;
    Diagnostics errors_, warnings_;
    Trust trust_;
    Lookups lookups_;
    std::deque<toml::Source> sources_;  ///< of superd.toml
    Settings settings_;
    bool config_read_ = true;
    const Catalog* running_ = nullptr;
    const Seen* before_ = nullptr;  ///< nullptr: nothing is known to be unchanged
    std::map<std::string, std::unique_ptr<Definition>> definitions_;
    std::vector<Asking> asking_;  ///< whether their files would do
    Catalog catalog_;
    std::set<std::string> kept_;
    Seen seen_;
};

/// Once without error reports, and once more with them only if there are errors.
std::expected<Reload, Diagnostics> load(const Surroundings& from, Diagnostics* warnings, const Catalog* running,
                                        const Seen* before, std::set<std::string>* files) {
    Consultations consultations;
    for (const bool tells_errors : {false, true}) {
        Loader loader(from, consultations, tells_errors);
        const bool sound = loader.load(running, tells_errors ? nullptr : before);
        if (!sound && !tells_errors) continue;
        if (files != nullptr) *files = loader.files();
        if (warnings != nullptr) {
            *warnings = loader.take_warnings();
            sort(*warnings);
        }
        if (!sound) return std::unexpected(loader.take_errors());
        return loader.take();
    }
    return std::unexpected(Diagnostics{});
}

}  // namespace

std::expected<Catalog, Diagnostics> load(const Surroundings& from, Diagnostics* warnings, Seen* seen,
                                         std::set<std::string>* files) {
    auto done = load(from, warnings, nullptr, nullptr, files);
    if (!done) return std::unexpected(std::move(done.error()));
    if (seen != nullptr) *seen = std::move(done->seen);
    return std::move(done->catalog);
}

std::expected<Reload, Diagnostics> reload(const Surroundings& from, const Catalog& running, const Seen& seen,
                                          std::set<std::string>* files) {
    return load(from, nullptr, &running, &seen, files);
}

}  // namespace superd::conf
