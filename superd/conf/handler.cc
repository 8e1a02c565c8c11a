// SPDX-License-Identifier: MIT
// Who runs a service's handler and what it is, resolved against this machine.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "conf/program.h"
#include "conf/validate.h"
#include "sys/file.h"

namespace superd::conf {

namespace {

using toml::Value;

constexpr const char* usual_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

class Resolver {
  public:
    Resolver(Draft& draft, const Context& context, Diagnostics& errors)
        : draft_(draft), handler_(draft.service.handler), context_(context), errors_(errors) {}

    void resolve() {
        resolve_identity();
        resolve_folders();
        resolve_program();
        resolve_environment();
        check_rlimits();
        check_nice();
    }

  private:
    bool is_root() const { return context_.from.uid == 0; }
    void reject(const char* name, const Value* at, const std::string& message) {
        if (at != nullptr) {
            draft_.reject(name, at->spot, message, errors_);
        } else {
            draft_.reject(name, message, errors_);
        }
    }
    void reject_here(const char* name, const Value* at, std::string message) {
        draft_.reject_here(name, at, std::move(message), errors_);
    }

    std::optional<sys::User> resolve_user() {
        const Value* value = draft_.get("user");
        if (value == nullptr && !is_root()) return sys::User{context_.from.uid, context_.from.gid, "", "", ""};
        const std::string name = value != nullptr ? value->text : "nobody";
        const auto found = context_.from.names.find_user(name);
        if (!found) {
            reject_here("user", value, found.error().text);
            return std::nullopt;
        }
        if (!*found) {
            reject_here("user", value,
                        value != nullptr ? fmt::format("user \"{}\": no such user", name)
                                         : "user is missing, and there is no \"nobody\" to use instead");
            return std::nullopt;
        }
        if (!is_root() && (*found)->uid != context_.from.uid) {
            reject_here("user", value, fmt::format("user \"{}\": only root may run a handler as another user", name));
            return std::nullopt;
        }
        return **found;
    }

    std::optional<gid_t> resolve_group(const char* name, const Value& value) {
        const auto found = context_.from.names.find_group(value.text);
        if (!found) {
            reject_here(name, &value, found.error().text);
        } else if (!*found) {
            reject_here(name, &value, fmt::format("{} \"{}\": no such group", name, value.text));
        } else if (!is_root() && **found != context_.from.gid) {
            reject_here(name, &value,
                        fmt::format("{} \"{}\": only root may run a handler in another group", name, value.text));
        } else {
            return **found;
        }
        return std::nullopt;
    }

    void resolve_identity() {
        auto user = draft_.is_broken("user") ? std::nullopt : resolve_user();
        if (const Value* value = draft_.get("group")) {
            const auto gid = resolve_group("group", *value);
            if (user && gid) user->gid = *gid;
        }
        const Value* listed = draft_.get("supplementary_groups");
        std::vector<gid_t> groups;
        if (listed != nullptr && !is_root()) {
            reject_here("supplementary_groups", listed, "supplementary_groups: only root may set them");
        } else if (listed != nullptr) {
            for (const Value& item : listed->items) {
                if (const auto gid = resolve_group("supplementary_groups", item)) groups.push_back(*gid);
            }
            std::ranges::sort(groups);
            groups.erase(std::ranges::unique(groups).begin(), groups.end());
        }
        if (!user || draft_.is_broken("group") || draft_.is_broken("supplementary_groups")) return;
        if (is_root()) {
            if (listed == nullptr) {
                auto known = context_.from.names.groups_of(*user);
                if (!known) return reject_here("user", draft_.get("user"), known.error().text);
                groups = std::move(*known);
            }
            handler_.identity = sys::Identity{user->uid, user->gid, groups, user->name};
            runs_as_ = *handler_.identity;
        } else {
            runs_as_ = sys::Identity{context_.from.uid, context_.from.gid, sys::own_groups(), ""};
        }
    }

    // The folder at a path, as the handler will see it; empty after an error.
    std::string resolve_folder(const char* name, const std::string& root, const std::string& path) {
        const Value* value = draft_.get(name);
        const auto complain = [&](std::string_view why) {
            reject_here(name, value, fmt::format("{} \"{}\" {}", name, path, why));
            return std::string();
        };
        if (!path.starts_with('/')) {
            reject(name, value, fmt::format("{} \"{}\" is not an absolute path", name, path));
            return "";
        }
        const Result<sys::FoundFile>& found = find_program(context_.lookups, root, path);
        if (!found) {
            if (found.error().code == ENOENT)
                return complain(root == "/" ? "does not exist" : "does not exist in root_directory");
            return complain(fmt::format("cannot be used: {}", found.error().text));
        }
        if (!S_ISDIR(found->status.mode)) return complain("is not a directory");
        return found->real_path;
    }

    void resolve_folders() {
        root_ = "/";
        if (draft_.get("root_directory") != nullptr) {
            root_ = resolve_folder("root_directory", "/", handler_.root_directory);
            if (!root_.empty() && !is_root())
                reject_here("root_directory", draft_.get("root_directory"), "root_directory: only root may set one");
        }
        if (draft_.is_broken("root_directory") || draft_.is_broken("working_directory")) return;
        resolve_folder("working_directory", root_, handler_.working_directory);
    }

    std::vector<std::string> search_path() const {
        std::vector<std::string> folders = context_.handler_path;
        const std::string path = own_variable("PATH").value_or(usual_path);
        // A relative folder would depend on superd's current folder.
        for (const std::string_view folder : split(path, ':')) {
            if (folder.starts_with('/')) folders.emplace_back(folder);
        }
        return folders;
    }

    void resolve_program() {
        const Value* exec = draft_.get("exec");
        if (exec == nullptr) return;
        if (exec->items.empty()) return reject("exec", exec, "exec is empty: it must name the handler");
        for (const Value& item : exec->items) handler_.argv.push_back(item.text);
        const Value& program = exec->items[0];
        if (draft_.is_broken("root_directory")) return;
        if (program.text.starts_with('/')) {
            check_program(program, program.text);
        } else if (program.text.empty() || program.text.find('/') != std::string::npos) {
            reject("exec", &program,
                   fmt::format("exec \"{}\" must be an absolute path, or a name without \"/\"", program.text));
        } else if (context_.handler_path_known) {
            look_up_program(program);
        }
        if (const Value* argv0 = draft_.get("argv0")) handler_.argv[0] = argv0->text;
    }

    void look_up_program(const Value& program) {
        const std::string path = context_.lookups.ask<std::string>(
            Lookups::question({"where", program.text, root_}),
            [name = program.text, root = root_, folders = search_path()](Lookups& lookups) {
                std::string in_the_way;
                for (const std::string& folder : folders) {
                    std::string candidate = fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", name);
                    const Result<sys::FoundFile>& found = find_program(lookups, root, candidate);
                    if (found && is_executable(found->status)) return candidate;
                    if (found && in_the_way.empty()) in_the_way = std::move(candidate);
                }
                return in_the_way;
            });
        if (!path.empty()) return check_program(program, path);
        reject_here("exec", &program,
                    fmt::format("exec \"{}\" is in none of {}", program.text, fmt::join(search_path(), ", ")));
    }

    void check_program(const Value& at, const std::string& path) {
        const std::string who = runs_as_ ? runs_as_->user + ":" + ids_of(*runs_as_) : "";
        const ProgramVerdict& verdict = context_.lookups.ask<ProgramVerdict>(
            Lookups::question({"execute", path, root_, who}),
            [path, root = root_, as = runs_as_](Lookups& lookups) { return judge_program(lookups, root, path, as); });
        handler_.path = path;
        if (!verdict.wrong.empty()) {
            const std::string where = at.text == path ? "" : fmt::format(" ({})", path);
            return reject_here("exec", &at, fmt::format("exec \"{}\"{}{}", at.text, where, verdict.wrong));
        }
        if (!verdict.is_text) return;
        draft_.warnings.push_back(
            {at.spot.place(),
             fmt::format("exec \"{}\" is not a binary and does not begin with \"#!\" and an interpreter: its clients "
                         "will be refused, since the kernel says of such a file \"{}\"",
                         at.text, errno_text(ENOEXEC)),
             true});
    }

    std::optional<std::string> own_variable(std::string_view name) const {
        for (const std::string& variable : context_.from.environment) {
            if (variable.starts_with(name) && variable.size() > name.size() && variable[name.size()] == '=')
                return variable.substr(name.size() + 1);
        }
        return std::nullopt;
    }

    // Contract, section 4: these variables are superd's to set.
    static bool is_reserved(std::string_view name) {
        static constexpr std::array<std::string_view, 12> prefixes{
            "TCPLOCAL", "TCPREMOTE", "UDPLOCAL", "UDPREMOTE",    "UNIXLOCAL",    "UNIXREMOTE",
            "LISTEN_",  "SUPERD_",   "PROTO=",   "REMOTE_ADDR=", "REMOTE_PORT=", "REMOTE_HOST="};
        static constexpr std::array<std::string_view, 11> of_tls{
            "TLS_PROTOCOL",          "TLS_CIPHER",   "TLS_SERVER_NAME", "TLS_ALPN",           "TLS_CLIENT_SUBJECT",
            "TLS_CLIENT_HASH",       "SSL_PROTOCOL", "SSL_CIPHER",      "SSL_PEER_CERT_HASH", "SSL_PEER_CERT_SUBJECT",
            "SSL_TLS_SNI_SERVERNAME"};
        if (std::ranges::find(of_tls, name) != of_tls.end()) return true;
        const std::string whole = fmt::format("{}=", name);
        return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return whole.starts_with(prefix); });
    }

    bool check_name(const char* key, const toml::Spot& spot, std::string_view name) {
        const auto is_word = [](char c) {
            return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        };
        if (name.empty() || (name[0] >= '0' && name[0] <= '9') || !std::ranges::all_of(name, is_word)) {
            draft_.reject(key, spot,
                          fmt::format("{}: \"{}\" is not a variable's name: letters, digits and \"_\", no digit first",
                                      key, name),
                          errors_);
        } else if (is_reserved(name) && name != "SUPERD_CONTROL") {  // superd itself reads it, if it is set
            draft_.reject(key, spot, fmt::format("{}: {} is set by superd itself", key, name), errors_);
        } else {
            return true;
        }
        return false;
    }

    void set_variable(std::string_view name, std::string_view value) {
        const std::string prefix = fmt::format("{}=", name);
        std::erase_if(handler_.environment, [&](const std::string& variable) { return variable.starts_with(prefix); });
        handler_.environment.push_back(fmt::format("{}{}", prefix, value));
    }

    void resolve_environment() {
        set_variable("PATH", usual_path);  // not superd's own, which depends on the process that started it
        if (const Value* names = draft_.get("pass_environment")) {
            for (const Value& item : names->items) {
                if (!check_name("pass_environment", item.spot, item.text)) continue;
                if (const auto value = own_variable(item.text)) set_variable(item.text, *value);
            }
        }
        if (const Value* variables = draft_.get("environment")) {
            for (const auto& [name, entry] : variables->entries) {
                if (check_name("environment", entry.key, name)) set_variable(name, entry.value.text);
            }
        }
        set_variable("SUPERD_SERVICE", draft_.service.name);
    }

    void check_rlimits() {
        if (is_root()) return;
        for (const Key& key : keys()) {
            const Value* value = draft_.get(key.full_name());
            if (key.section != "rlimits" || value == nullptr) continue;
            Service one;
            Reading reading;
            Diagnostics none;
            read_value(key, *value, reading, none);
            key.apply(one, reading);
            const ResourceLimit& wanted = one.handler.rlimits.front();
            rlimit own{};
            getrlimit(static_cast<__rlimit_resource_t>(wanted.resource), &own);
            if (wanted.hard > own.rlim_max) {
                reject_here(key.full_name().c_str(), value,
                            fmt::format("{} is above superd's own hard limit of {}, which only root may raise",
                                        key.full_name(), own.rlim_max));
            }
        }
    }

    // setpriority(2): every user may go down to 20 less RLIMIT_NICE. 0 leaves a handler at superd's own.
    void check_nice() {
        const Value* value = draft_.get("nice");
        if (is_root() || value == nullptr || handler_.nice == 0) return;
        rlimit ceiling{};
        getrlimit(RLIMIT_NICE, &ceiling);
        const int least =
            std::min(getpriority(PRIO_PROCESS, 0), 20 - static_cast<int>(std::min<rlim_t>(ceiling.rlim_cur, 40)));
        if (handler_.nice >= least) return;
        reject_here(
            "nice", value,
            fmt::format("nice {} is below {}, the least that superd may set without root", handler_.nice, least));
    }

    Draft& draft_;
    Handler& handler_;
    const Context& context_;
    Diagnostics& errors_;
    std::optional<sys::Identity> runs_as_;  ///< nullopt after an error
    std::string root_;                      ///< without symbolic links; "/" if there is none
};

}  // namespace

void resolve_handler(Draft& draft, const Context& context, Diagnostics& errors) {
    Resolver(draft, context, errors).resolve();
}

}  // namespace superd::conf
