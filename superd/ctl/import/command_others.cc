// SPDX-License-Identifier: MIT
// socat(1), ncat(1) and systemd-socket-activate(1), as far as they start a program for each of many clients.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/text.h"
#include "ctl/import/command.h"
#include "ctl/import/unit.h"

namespace superd::ctl::command {

namespace {

/// TYPE:PARAMETER:PARAMETER,OPTION=VALUE,…
struct Address {
    std::string type;  ///< in capitals
    std::vector<std::string> parameters;
    std::vector<std::pair<std::string, std::string>> options;  ///< names in lower case

    const std::string* find(std::string_view name) const {
        const auto found = std::ranges::find(options, name, &std::pair<std::string, std::string>::first);
        return found != options.end() ? &found->second : nullptr;
    }
};

/// Reads up to a separator outside quotes and backslashes, and removes these. `keep`: leaves them for the program's
/// words.
std::string piece_of(std::string_view text, std::size_t& at, std::string_view separators, bool keep) {
    std::string out;
    char quote = 0;
    for (; at < text.size(); ++at) {
        const char c = text[at];
        if (c == '\\' && at + 1 < text.size()) {
            if (keep) out += c;
            out += text[++at];
        } else if (quote != 0 ? c == quote : c == '"' || c == '\'') {
            quote = quote != 0 ? '\0' : c;
            if (keep) out += c;
        } else if (quote == 0 && separators.find(c) != std::string_view::npos) {
            break;
        } else {
            out += c;
        }
    }
    return out;
}

Address address_of(std::string_view text) {
    Address out;
    std::size_t at = 0;
    out.type = piece_of(text, at, ":,", false);
    std::ranges::transform(out.type, out.type.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    const bool program = out.type == "EXEC" || out.type == "SYSTEM";
    while (at < text.size() && text[at] == ':')
        out.parameters.push_back(piece_of(text, ++at, program ? "," : ":,", program));
    while (at < text.size() && text[at] == ',') {
        const std::string option = piece_of(text, ++at, ",", false);
        const std::size_t equals = std::min(option.find('='), option.size());
        if (!option.empty())
            out.options.emplace_back(lower(option.substr(0, equals)),
                                     option.substr(std::min(equals + 1, option.size())));
    }
    return out;
}

std::vector<std::string> shell_or_words(const Address& address) {
    std::string_view text = address.parameters[0];
    // Quotes around the whole are socat's; quotes inside are for the words.
    if (text.size() > 1 && text.front() == '"' && text.find('"', 1) == text.size() - 1)
        text = text.substr(1, text.size() - 2);
    if (address.type == "SYSTEM") {
        std::size_t at = 0;
        return {"/bin/sh", "-c", piece_of(text, at, "", false)};
    }
    return unit::words_of(text).value_or(std::vector<std::string>{});
}

struct Listener {
    std::string_view type, scheme, family;
};
constexpr std::array<Listener, 13> listeners{{{"TCP-LISTEN", "tcp", "4"},
                                              {"TCP-L", "tcp", "4"},
                                              {"TCP4-LISTEN", "tcp", "4"},
                                              {"TCP4-L", "tcp", "4"},
                                              {"TCP6-LISTEN", "tcp", "6"},
                                              {"TCP6-L", "tcp", "6"},
                                              {"UDP-RECVFROM", "udp", "4"},
                                              {"UDP4-RECVFROM", "udp", "4"},
                                              {"UDP6-RECVFROM", "udp", "6"},
                                              {"UNIX-LISTEN", "unix", ""},
                                              {"UNIX-L", "unix", ""},
                                              {"ABSTRACT-LISTEN", "unix", ""},
                                              {"UNIX-RECVFROM", "unix-dgram", ""}}};

class Socat {
  public:
    Socat(Address from, Address to, const Machine& machine, Imported& out, Import& import)
        : from_(std::move(from)), to_(std::move(to)), machine_(machine), out_(out), import_(import) {}

    void run() {
        const auto listener = std::ranges::find(listeners, from_.type, &Listener::type);
        const std::vector<std::string> argv = to_.parameters.empty() ? std::vector<std::string>{} : shell_or_words(to_);
        if (listener == listeners.end() || from_.parameters.empty())
            return skip(fmt::format("superd cannot listen on socat's {}", from_.type));
        if ((to_.type != "EXEC" && to_.type != "SYSTEM") || argv.empty())
            return skip(fmt::format("{} is not a program: superd does not forward connections", to_.type));
        if (from_.find("fork") == nullptr) return skip("without fork it exits after one client");
        out_.name = to_.type == "SYSTEM" ? "system" : argv[0].substr(argv[0].rfind('/') + 1);
        if (!set_listen(*listener)) return;
        out_.set("model", "fork", out_.at);
        out_.set("user", "root", out_.at);
        set_program(import_, out_, argv, machine_.folder);
        for (const auto& [name, value] : from_.options) set(name, value);
        for (const auto& [name, value] : to_.options) set_of_program(name, value);
    }

  private:
    void skip(const std::string& why) { import_.note(out_.at, "", Fate::skipped, why + "; left out"); }
    void lost(std::string_view name, std::string_view value, std::string_view why) {
        import_.note(out_.at, out_.name, Fate::lost,
                     fmt::format("{}{}{}: {}", name, value.empty() ? "" : "=", value, why));
    }

    bool set_listen(const Listener& listener) {
        const std::string& where = from_.parameters[0];
        if (listener.family.empty()) {
            const bool abstract = listener.type == "ABSTRACT-LISTEN";
            const std::string path = abstract || where.starts_with('/') ? where : machine_.folder + "/" + where;
            out_.set("listen",
                     std::vector<std::string>{fmt::format("{}://{}{}", listener.scheme, abstract ? "@" : "", path)},
                     out_.at);
            return true;
        }
        const std::string* bind = from_.find("bind");
        const std::string *pf = from_.find("pf"), *only = from_.find("ipv6-v6only");
        const bool ipv6 = listener.family == "6" || (pf != nullptr && lower(*pf).ends_with('6'));
        // On Linux an IPv6 socket also serves IPv4.
        const bool dual = ipv6 && (only == nullptr || *only == "0");
        const std::vector<std::string> listen =
            uris(import_, out_, machine_, listener.scheme, bind != nullptr ? *bind : "", where,
                 dual && bind == nullptr ? ""
                 : ipv6                  ? "6"
                                         : "4");
        if (!listen.empty()) out_.set("listen", std::vector<std::string>{listen[0]}, out_.at);
        return !listen.empty();
    }

    void set(const std::string& name, const std::string& value) {
        static const std::map<std::string_view, const char*> numbers{{"backlog", "socket.backlog"},
                                                                     {"max-children", "limits.instances"}};
        static const std::map<std::string_view, const char*> texts{{"mode", "socket.mode"},
                                                                   {"user", "socket.user"},
                                                                   {"group", "socket.group"},
                                                                   {"so-bindtodevice", "socket.bind_to_device"}};
        static const std::map<std::string_view, const char*> flags{
            {"keepalive", "socket.keepalive"}, {"so-keepalive", "socket.keepalive"}, {"nodelay", "socket.nodelay"},
            {"tcp-nodelay", "socket.nodelay"}, {"reuseport", "socket.reuse_port"},   {"freebind", "socket.freebind"}};
        constexpr std::array<std::string_view, 9> settled{"fork",     "reuseaddr",    "so-reuseaddr",
                                                          "bind",     "pf",           "ipv6-v6only",
                                                          "ipv6only", "unlink-early", "unlink-close"};
        if (const auto number = numbers.find(name); number != numbers.end() && all_digits(value) && value.size() < 8) {
            out_.set_toml(number->second, value, out_.at);
        } else if (const auto text = texts.find(name); text != texts.end()) {
            out_.set(text->second, name == "mode" && !value.starts_with('0') ? "0" + value : value, out_.at);
        } else if (const auto flag = flags.find(name); flag != flags.end()) {
            out_.set(flag->second, true, out_.at);
        } else if (name == "su" || name == "setuid" || name == "su-d") {
            out_.set("user", value, out_.at);
        } else if (name == "setgid") {
            out_.set("group", value, out_.at);
        } else if (name == "range") {
            set_range(value);
        } else if (name == "tcpwrap" || name == "tcpwrappers") {
            set_access(import_, out_, wrapper_lists(machine_, value.empty() ? "socat" : value));
        } else if (name == "sourceport" || name == "lowport" || name == "sp") {
            import_.disable(out_, out_.at,
                            fmt::format("{}: superd does not look at clients' ports and would let in others", name));
        } else if (std::ranges::find(settled, name) == settled.end()) {
            lost(name, value, "superd has nothing like it");
        }
    }

    /// 10.0.0.0/8, 10.0.0.0:255.0.0.0, [::1/128]
    void set_range(std::string value) {
        std::erase_if(value, [](char c) { return c == '[' || c == ']'; });
        AccessList list{"range", out_.at, {}, false, {}, {}};
        if (const auto prefix = sys::parse_prefix(value)) {
            list.add({*prefix}, true);
        } else {
            list.lost_in.push_back(value);
        }
        set_access(import_, out_, {list});
    }

    void set_of_program(const std::string& name, const std::string& value) {
        if (name == "stderr") {
            out_.set("stderr", "socket", out_.at);
        } else if (name == "su" || name == "setuid" || name == "su-d") {
            out_.set("user", value, out_.at);
        } else if (name == "setgid") {
            out_.set("group", value, out_.at);
        } else if (name == "chroot") {
            out_.set("root_directory", value, out_.at);
        } else if (name == "cd" || name == "chdir") {
            out_.set("working_directory", value, out_.at);
        } else if (name != "nofork" && name != "pipes" && name != "setsid") {
            lost(name, value,
                 name == "pty" || name == "ctty" ? "superd does not make terminals" : "superd has nothing like it");
        }
    }

    const Address from_, to_;
    const Machine& machine_;
    Imported& out_;
    Import& import_;
};

/// An access list of ncat's, from an option or a file.
void add_hosts(AccessList& list, const Machine& machine, const Options& options, const char* option, const char* file,
               bool in) {
    std::string text = options.find(option) != nullptr ? *options.find(option) : "";
    if (const std::string* path = options.find(file)) {
        const auto content = machine.read(*path);
        if (!content) list.lost_out.push_back(*path);
        text += "," + content.value_or("");
    }
    std::ranges::replace_if(
        text, [](char c) { return c == '\n' || c == ' ' || c == '\t'; }, ',');
    for (const std::string_view word : split(text, ',')) {
        if (word.empty()) continue;
        if (const auto prefix = sys::parse_prefix(word)) {
            list.add({*prefix}, in);
        } else {
            (in ? list.lost_in : list.lost_out).emplace_back(word);
        }
    }
}

}  // namespace

void map_socat(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import) {
    const auto options = read_options(words, "-b -l -t -T -L -W -lf -lp -lm");
    if (!options) return import.note(out.at, "", Fate::error, options.error().text);
    if (options->rest.size() != 2) return import.note(out.at, "", Fate::error, "does not have two addresses");
    Socat(address_of(options->rest[0]), address_of(options->rest[1]), machine, out, import).run();
}

void map_ncat(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import) {
    const auto options = read_options(
        words,
        "-p -e -c -m -g -G -s -d -i -q -w -x -o --port --exec --sh-exec --max-conns --allow --allowfile --deny "
        "--denyfile --source --source-port --idle-timeout --output --delay --wait --ssl-cert --ssl-key",
        true);
    if (!options) return import.note(out.at, "", Fate::error, options.error().text);
    const auto either = [&](const char* a, const char* b) {
        return options->find(a) != nullptr ? options->find(a) : options->find(b);
    };
    const auto skip = [&](const char* why) { import.note(out.at, "", Fate::skipped, std::string(why) + "; left out"); };
    if (either("-l", "--listen") == nullptr) return skip("without -l it is a client");
    if (either("-k", "--keep-open") == nullptr) return skip("without -k it exits after one client");
    if (options->has("--ssl")) return skip("--ssl: superd would serve it without TLS");
    const std::string *exec = either("-e", "--exec"), *shell = either("-c", "--sh-exec"),
                      *port = either("-p", "--port");
    if (exec == nullptr && shell == nullptr) return skip("without -e or -c it runs no program");
    std::vector<std::string> argv{"/bin/sh", "-c", shell != nullptr ? *shell : ""};
    if (shell == nullptr) argv = unit::words_of(*exec).value_or(std::vector<std::string>{});
    if (argv.empty()) return import.note(out.at, "", Fate::error, "-e has no program");
    std::vector<std::string> rest = options->rest;
    std::string where = port != nullptr ? *port : "31337";
    if (port == nullptr && !rest.empty()) {
        where = rest.back();
        rest.pop_back();
    }
    const bool udp = either("-u", "--udp") != nullptr;
    out.name = shell != nullptr ? "sh" : argv[0].substr(argv[0].rfind('/') + 1);
    if (either("-U", "--unixsock") != nullptr) {
        out.set("listen", std::vector<std::string>{"unix://" + where}, out.at);
    } else {
        const bool four = options->has("-4"), six = options->has("-6");
        std::vector<std::string> listen;
        for (const char* family : {"4", "6"}) {
            if ((four && family[0] == '6') || (six && family[0] == '4')) continue;
            if (!rest.empty() && listen_addresses(machine, rest[0], family).empty()) continue;
            const auto found =
                uris(import, out, machine, udp ? "udp" : "tcp", rest.empty() ? "" : rest[0], where, family);
            if (!found.empty()) listen.push_back(found[0]);
        }
        if (listen.empty()) return skip("has no address to listen on now");
        out.set("listen", listen, out.at);
    }
    out.set("model", "fork", out.at);
    out.set("user", "root", out.at);
    set_program(import, out, argv, machine.folder);
    const std::string* most = either("-m", "--max-conns");
    const bool counted = most != nullptr && all_digits(*most) && most->size() < 7;
    out.set_toml("limits.instances", counted ? *most : "100", out.at);
    AccessList list{"--deny", out.at, {}, true, {}, {}};
    add_hosts(list, machine, *options, "--deny", "--denyfile", false);
    add_hosts(list, machine, *options, "--allow", "--allowfile", true);
    list.rest = !options->has("--allow") && !options->has("--allowfile");
    if (!list.rest || !list.rules.empty() || !list.lost_out.empty()) set_access(import, out, {list});
}

void map_activate(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import) {
    const auto options = read_options(words, "-l -E --listen --setenv --fdname --now");
    if (!options) return import.note(out.at, "", Fate::error, options.error().text);
    const bool accept = options->has("-a") || options->has("--accept"),
               datagram = options->has("-d") || options->has("--datagram");
    if (options->rest.empty()) return import.note(out.at, "", Fate::error, "has no program");
    std::vector<std::string> listen;
    for (const Options::Option& option : options->given) {
        if (option.name != "-l" && option.name != "--listen") continue;
        const auto uri = unit::listen_uri(datagram ? "ListenDatagram" : "ListenStream", option.value, false);
        if (!uri)
            return import.note(out.at, "", Fate::skipped,
                               fmt::format("-l {}: {}; left out", option.value, uri.error().text));
        listen.push_back(*uri);
    }
    if (listen.empty()) return import.note(out.at, "", Fate::error, "has no address to listen on (-l)");
    out.name = options->rest[0].substr(options->rest[0].rfind('/') + 1);
    out.set("listen", listen, out.at);
    out.set("model", accept && !datagram ? "fork" : "iterative", out.at);
    if (!accept && !datagram) out.set("handoff", "listen", out.at);
    out.set("user", "root", out.at);
    set_program(import, out, options->rest, machine.folder);
    for (const Options::Option& option : options->given) {
        if (option.name != "-E" && option.name != "--setenv") continue;
        const std::size_t equals = option.value.find('=');
        if (equals == std::string::npos) {
            out.set("pass_environment", std::vector<std::string>{option.value}, out.at);
        } else {
            out.set_environment({{option.value.substr(0, equals), option.value.substr(equals + 1)}}, out.at);
        }
    }
    if (accept && !datagram && !options->has("--inetd"))
        import.disable(
            out, out.at,
            "has no --inetd, so the handler expects its connection at descriptor 3 (LISTEN_FDS); superd passes "
            "it as stdin: the handler must use that (exec)");
}

}  // namespace superd::ctl::command
