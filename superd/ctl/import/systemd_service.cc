// SPDX-License-Identifier: MIT
// The settings of [Service].
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using unit::Assignment;
using unit::Unit;

class HandlerMapper {
  public:
    HandlerMapper(const Handler& handler, Imported& out, Import& import)
        : handler_(handler),
          unit_(handler.service),
          specifiers_(handler.specifiers),
          accepted_(handler.accepted),
          out_(out),
          import_(import) {}

    bool run() {
        read_environment();
        if (!set_command()) return false;
        set_identity();
        set_streams();
        out_.set_environment(environment_, environment_at_);
        std::set<std::string, std::less<>> done;
        for (const Assignment& one : unit_.assignments()) {
            if (one.section != "Service" || !done.insert(one.key).second) continue;
            for (const Assignment* each : unit_.all("Service", one.key)) {
                if (is_list(one.key) || each == unit_.last("Service", one.key)) set(*each);
            }
        }
        set_lists();
        map_sandbox(handler_, out_, import_);
        return true;
    }

  private:
    const Assignment* last(std::string_view key) const { return unit_.last("Service", key); }
    void note(const Assignment& one, Fate fate, std::string_view text) {
        import_.note(one.at, out_.name, fate, fmt::format("{}={}: {}", one.key, one.value, text));
    }
    void lost(const Assignment& one, std::string_view why) { note(one, Fate::lost, why); }

    void read_environment() {
        for (const Assignment* one : unit_.all("Service", "Environment")) {
            const auto words = unit::words_of(one->value);
            if (!words) {
                lost(*one, "a quote is not closed");
                continue;
            }
            for (const std::string& word : *words) {
                const auto expanded = specifiers_.expand(word);
                const std::size_t equals = expanded ? expanded->find('=') : std::string::npos;
                if (equals == std::string::npos || equals == 0 || !is_plain_text(*expanded)) {
                    lost(*one, fmt::format("\"{}\" is not NAME=VALUE", word));
                    continue;
                }
                environment_[expanded->substr(0, equals)] = expanded->substr(equals + 1);
                environment_at_ = one->at;
            }
        }
    }

    bool set_command() {
        const auto all = unit_.all("Service", "ExecStart");
        if (all.empty()) {
            import_.note(out_.at, "", Fate::skipped,
                         fmt::format("the service of \"{}\" has no ExecStart; left out", out_.name));
            return false;
        }
        const Assignment& one = *all.back();
        const auto command = unit::command_of(one.value, specifiers_, environment_);
        if (!command) {
            import_.note(one.at, "", Fate::skipped,
                         fmt::format("ExecStart={} {}; left out", one.value, command.error().text));
            return false;
        }
        if (all.size() > 1 || command->more)
            lost(one, "superd runs only the last of several commands, up to its \";\"");
        if (!command->unset.empty()) {
            const bool from_file = !unit_.all("Service", "EnvironmentFile").empty();
            note(one, Fate::changed,
                 fmt::format("nothing is inserted for {}{}", fmt::join(command->unset, ", "),
                             from_file ? ": superd does not read EnvironmentFile; write the words into exec"
                                       : ", which nothing sets"));
        }
        std::vector<std::string> exec{command->program};
        exec.insert(exec.end(), command->argv.begin() + 1, command->argv.end());
        if (!accepted_ && command->program.ends_with("/systemd-socket-proxyd")) {
            full_privileges_ = command->full_privileges;
            return set_proxy(one, command->argv);
        }
        out_.set("exec", exec, one.at);
        const std::string& argv0 = command->argv[0];
        if (!argv0.empty() && argv0 != command->program) out_.set("argv0", std::string_view(argv0), one.at);
        full_privileges_ = command->full_privileges;
        return true;
    }

    /// systemd-socket-proxyd(8): one process for all connections there and here.
    bool set_proxy(const Assignment& one, const std::vector<std::string>& argv) {
        std::vector<std::string> exec{"superd-proxy"};
        std::string target;
        for (std::size_t i = 1; i < argv.size(); ++i) {
            std::string name = argv[i], value;
            if (!name.starts_with('-')) {
                target = name;
                continue;
            }
            if (const std::size_t equals = name.find('='); name.starts_with("--") && equals != std::string::npos) {
                value = name.substr(equals + 1);
                name.resize(equals);
            } else if (name.starts_with("-c") && name.size() > 2) {
                value = name.substr(2);
                name = "-c";
            } else if (i + 1 < argv.size()) {
                value = argv[++i];
            }
            const auto idle = name == "--exit-idle-time" ? unit::time_span(value) : std::nullopt;
            if (idle && idle->count() > 0) {
                out_.set("prefork.max_idle",
                         fmt::format("{}ms", std::chrono::ceil<std::chrono::milliseconds>(*idle).count()), one.at);
            } else if (name == "--connections-max" || name == "-c") {
                exec.insert(exec.end(), {"--connections-max", value});
            } else if (value != "infinity" || name != "--exit-idle-time") {
                note(one, Fate::lost, fmt::format("{} {} of systemd-socket-proxyd is not carried over", name, value));
            }
        }
        if (target.empty()) {
            import_.note(one.at, "", Fate::skipped, fmt::format("ExecStart={} names no target; left out", one.value));
            return false;
        }
        exec.push_back(proxy_target(target));
        out_.set("exec", exec, one.at);
        out_.set("model", "prefork", one.at);
        out_.set("limits.instances", 1, one.at);
        out_.set("prefork.min_spare", 0, one.at);
        note(one, Fate::changed,
             "by superd-proxy, which looks names up for each client; past --connections-max clients wait. If a unit "
             "that "
             "this one requires is the backend, --start runs it on demand");
        return true;
    }

    /// "HOST", "HOST:PORT", a path or "@NAME".
    static std::string proxy_target(const std::string& target) {
        if (target.starts_with('/') || target.starts_with('@')) return "unix://" + target;
        const std::size_t colon = target.rfind(':');
        const bool bare_ipv6 = !target.starts_with('[') && target.find(':') != colon;
        const bool has_port = colon != std::string::npos && !bare_ipv6 && !target.ends_with(']');
        if (has_port) return "tcp://" + target;
        return fmt::format("tcp://{}:80", bare_ipv6 ? "[" + target + "]" : target);
    }

    void set_identity() {
        const Assignment* dynamic = last("DynamicUser");
        const Assignment* user = last("User");
        const Assignment* group = last("Group");
        if (full_privileges_) {
            out_.set("user", "root", last("ExecStart")->at);
            if (user != nullptr) note(*user, Fate::changed, "ExecStart has \"+\" or \"!\": runs as root");
            return;
        }
        if (dynamic != nullptr && unit::boolean(dynamic->value).value_or(false)) {
            return note(*dynamic, Fate::changed, "superd does not create users: runs as nobody");
        }
        const auto name_of_user =
            user != nullptr ? specifiers_.expand(user->value) : std::optional<std::string>("root");
        if (user != nullptr) {
            out_.set("user", std::string_view(name_of_user.value_or(user->value)), user->at);
        } else {
            out_.set("user", "root", out_.at);
        }
        if (group != nullptr)
            out_.set("group", std::string_view(specifiers_.expand(group->value).value_or(group->value)), group->at);
    }

    /// superd gives the handler its socket as stdin and stdout whatever these settings say.
    void set_streams() {
        const Assignment* input = last("StandardInput");
        const Assignment* output = last("StandardOutput");
        const Assignment* error = last("StandardError");
        const bool is_socket = input != nullptr && input->value == "socket";
        if (accepted_ && !is_socket) {
            import_.disable(out_, input != nullptr ? input->at : out_.at,
                            "has no StandardInput=socket, so the handler expects its connection at descriptor 3 "
                            "(LISTEN_FDS); superd passes it as stdin: the handler must use that (exec)");
        } else if (input != nullptr && !is_socket) {
            lost(*input, "stdin is the listening socket");
        }
        if (output != nullptr && output->value != "socket" && output->value != "inherit")
            lost(*output, "stdout is the socket");
        if (error == nullptr || error->value == "inherit") {
            if (output != nullptr && output->value == "socket") out_.set("stderr", "socket", output->at);
        } else if (error->value == "socket" || error->value == "null") {
            out_.set("stderr", std::string_view(error->value), error->at);
        } else if (error->value != "journal" && error->value != "syslog") {
            note(*error, Fate::changed, "stderr goes to superd's log");
        }
    }

    static bool is_list(std::string_view key) {
        return key == "EnvironmentFile" || (key.starts_with("Exec") && key != "ExecStart");
    }

    void set(const Assignment& one) {
        static const std::map<std::string_view, void (HandlerMapper::*)(const Assignment&)> known{
            {"WorkingDirectory", &HandlerMapper::set_working_directory},
            {"RootDirectory", &HandlerMapper::set_root_directory},
            {"Type", &HandlerMapper::set_type},
            {"IgnoreSIGPIPE", &HandlerMapper::set_ignore_sigpipe},
            {"KillMode", &HandlerMapper::set_kill_mode},
        };
        // These are handled above or below, or say what superd does anyway.
        constexpr std::array<std::string_view, 13> settled{
            "ExecStart",     "Environment",         "User",          "Group",           "DynamicUser",
            "StandardInput", "StandardOutput",      "StandardError", "PassEnvironment", "IPAddressAllow",
            "IPAddressDeny", "SupplementaryGroups", "Slice"};
        if (const auto found = known.find(one.key); found != known.end()) return (this->*found->second)(one);
        if (std::ranges::find(settled, one.key) != settled.end() || one.key.starts_with("X-")) return;
        if (is_sandbox_setting(one.key)) return;  // below, together
        if (const conf::Key* key = conf::find_counterpart(conf::Elsewhere::service_unit, one.key)) {
            if (!carry(one, *key, out_)) lost(one, "is not a value that superd could take");
            return;
        }
        lost(one, why_lost(one.key));
    }

    static std::string_view why_lost(std::string_view key) {
        if (key == "EnvironmentFile") return "superd does not read it; write its variables into environment";
        if (key.starts_with("Limit")) return "superd has no such limit";
        if (key.starts_with("Exec")) return "superd runs only the handler";
        if (key.starts_with("Restart") || key.starts_with("StartLimit"))
            return "superd starts a handler when a client comes";
        for (const char* confined :
             {"Protect",   "Private",   "Restrict",     "SystemCall", "Capability", "Ambient",  "NoNew",
              "ReadOnly",  "ReadWrite", "Inaccessible", "Lock",       "Memory",     "Device",   "Bind",
              "RemoveIPC", "ExecPaths", "NoExec",       "Secure",     "SELinux",    "AppArmor", "Smack"}) {
            if (key.starts_with(confined)) return "superd does not confine handlers in this way";
        }
        return "superd has nothing like it";
    }

    void set_text(const char* to, const Assignment& one, std::string_view value) {
        const auto expanded = specifiers_.expand(value);
        if (!expanded) return lost(one, "has a specifier that superd cannot give a value");
        out_.set(to, std::string_view(*expanded), one.at);
    }

    /// Said by name, it is meant; left to its default, systemd's "control-group" is nobody's wish.
    void set_kill_mode(const Assignment& one) {
        const bool end = one.value == "control-group" || one.value == "mixed";
        if (end) return out_.set("resources.leftovers", std::string_view("end"), one.at);
        if (one.value != "process" && one.value != "none") lost(one, "is not a value that superd could take");
    }

    void set_working_directory(const Assignment& one) {
        std::string_view value = one.value;
        if (value.starts_with('-')) value.remove_prefix(1);
        if (value == "~") return lost(one, "write the user's home");
        set_text("working_directory", one, value);
    }
    void set_root_directory(const Assignment& one) { set_text("root_directory", one, one.value); }
    void set_type(const Assignment& one) {
        if (one.value == "simple" || one.value == "exec" || one.value == "notify" || one.value == "notify-reload")
            return;
        lost(one, "superd expects the process that it started to serve");
    }
    void set_ignore_sigpipe(const Assignment& one) {
        if (unit::boolean(one.value).value_or(true)) lost(one, "handlers have default signal dispositions");
    }

    std::vector<std::string> words_of(std::string_view key, Origin& at) {
        std::vector<std::string> out;
        for (const Assignment* one : unit_.all("Service", key)) {
            const auto words = unit::words_of(one->value);
            if (!words || !std::ranges::all_of(*words, is_plain_text)) {
                import_.disable(out_, one->at,
                                fmt::format("{}: {}, so it is left out", key,
                                            words ? "is not UTF-8 text" : "a quote is not closed"));
                continue;
            }
            out.insert(out.end(), words->begin(), words->end());
            at = one->at;
        }
        return out;
    }

    void set_lists() {
        Origin at;
        if (const auto groups = words_of("SupplementaryGroups", at); !groups.empty())
            out_.set("supplementary_groups", groups, at);
        if (const auto names = words_of("PassEnvironment", at); !names.empty()) out_.set("pass_environment", names, at);
    }

    const Handler& handler_;
    const Unit& unit_;
    const unit::Specifiers& specifiers_;
    const bool accepted_;
    Imported& out_;
    Import& import_;
    bool full_privileges_ = false;
    std::map<std::string, std::string> environment_;
    Origin environment_at_;
};

}  // namespace

bool map_handler(const Handler& handler, Imported& out, Import& import) {
    return HandlerMapper(handler, out, import).run();
}

}  // namespace superd::ctl::systemd
