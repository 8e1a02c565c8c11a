// SPDX-License-Identifier: MIT
// What a section of stunnel.conf becomes: its sockets, and what is behind its TLS.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "ctl/import/access.h"
#include "ctl/import/stunnel.h"

namespace superd::ctl::stunnel {

namespace {

struct Endpoint {
    std::string host, port;  ///< or a path in `host`
};

/// "[HOST:]PORT": the last colon separates, so that ":::443" is all of IPv6. The host keeps no brackets.
Endpoint endpoint_of(const std::string& text) {
    if (text.starts_with('/')) return {text, ""};
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return {"", text};
    std::string host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    return {host, text.substr(colon + 1)};
}

std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> out;
    for (std::size_t at = text.find_first_not_of(" \t"); at != std::string::npos;) {
        const std::size_t end = std::min(text.find_first_of(" \t", at), text.size());
        out.push_back(text.substr(at, end - at));
        at = text.find_first_not_of(" \t", end);
    }
    return out;
}

class Mapper {
  public:
    Mapper(const Section& section, const Machine& machine, Imported& out, Import& import)
        : section_(section), machine_(machine), out_(out), import_(import) {}

    /// False: it cannot be a service, which has been noted.
    bool run(const std::vector<const Section*>& others, bool listens) {
        if (const std::string why = left_out(); !why.empty()) {
            import_.note(section_.at, "", Fate::skipped, fmt::format("\"{}\" {}; left out", out_.name, why));
            return false;
        }
        if (listens && !set_listen()) return false;
        out_.set("model", "fork", section_.at);
        find("exec") != nullptr ? set_program() : set_proxy();
        map_tls(section_, others, machine_, out_, import_);
        for (const Option& option : section_.options) set(option);
        set_access();
        if (!section_.fault.empty()) import_.disable(out_, section_.fault_at, section_.fault);
        return true;
    }

  private:
    const Option* find(std::string_view name) const { return section_.find(name); }
    void lost(const Option& option, std::string_view why) {
        import_.note(option.at, out_.name, Fate::lost, fmt::format("{}: {}", option.text(), why));
    }
    void changed(const Option& option, std::string_view how) {
        import_.note(option.at, out_.name, Fate::changed, fmt::format("{}: {}", option.text(), how));
    }

    std::string left_out() const {
        if (section_.yes("client"))
            return "has client = yes: stunnel speaks TLS with the other side, which superd does not do";
        if (find("exec") == nullptr && find("connect") == nullptr) return "has neither exec nor connect";
        if (find("exec") != nullptr && find("connect") != nullptr)
            return "has both exec and connect, which stunnel refuses beside accept";
        const std::string protocol = lower(section_.value("protocol"));
        if (protocol == "socks") return "is a SOCKS proxy inside TLS";
        if (!protocol.empty() && protocol != "proxy")
            return fmt::format(
                "has protocol = {}: its clients ask for TLS in their own protocol, which is the "
                "handler's business under superd",
                protocol);
        if (find("cert") == nullptr)
            return find("psksecrets") != nullptr ? "has PSKsecrets and no cert: superd-tls goes by certificates"
                                                 : "has no cert, and stunnel does not start without";
        if (lower(section_.value("transparent")) == "destination" || lower(section_.value("transparent")) == "both")
            return "is transparent: it connects to where its clients wanted to go";
        return "";
    }

    /// The number that a port's name stands for here, or the port itself.
    std::string port_of(const std::string& port) const {
        const auto known = machine_.port(port, "tcp");
        return known ? std::to_string(*known) : port;
    }

    /// Without a host on all IPv4 addresses; each line is one more.
    bool set_listen() {
        std::vector<std::string> listen;
        const Option* last = nullptr;
        for (const Option& option : section_.options) {
            if (option.name != "accept") continue;
            last = &option;
            const Endpoint at = endpoint_of(option.value);
            if (at.host.starts_with('/')) {
                listen.push_back("unix://" + at.host);
                out_.set("socket.mode", "0600", option.at);
                changed(option, "only its owner may connect, as to stunnel's under the usual umask of 022");
            } else if (at.host.empty() || at.host == "::") {
                // The kernel's "::" serves IPv4 too, and stunnel leaves it at that.
                listen.push_back(inet_uri("tcp", at.host.empty() ? "0.0.0.0" : "*", at.port));
            } else {
                const auto found = listen_addresses(machine_, at.host, "");
                for (const std::string& address : found) listen.push_back(inet_uri("tcp", address, at.port));
                if (found.empty()) lost(option, "has no address now");
                if (!found.empty() && !is_address(at.host))
                    changed(option, fmt::format("{} now", fmt::join(found, ", ")));
            }
        }
        if (listen.empty()) {
            import_.note(section_.at, "", Fate::skipped,
                         fmt::format("\"{}\" has {}; left out", out_.name,
                                     last != nullptr ? "no address to accept on" : "no accept"));
            return false;
        }
        out_.set("listen", listen, last->at);
        return true;
    }

    /// As an inetd's handler, with the socket as stderr too unless stunnel has kept its own.
    void set_program() {
        const Option& exec = *find("exec");
        std::vector<std::string> argv = words_of(section_.value("execargs"));
        if (argv.empty()) argv.push_back(exec.value);
        std::vector<std::string> words{absolute(exec.value, machine_)};
        words.insert(words.end(), argv.begin() + 1, argv.end());
        out_.set("exec", words, exec.at);
        if (argv[0] != words[0]) out_.set("argv0", std::string_view(argv[0]), exec.at);
        if (const std::string foreground = lower(section_.value("foreground"));
            foreground.empty() || foreground == "no")
            out_.set("stderr", "socket", exec.at);
        set_user();
        if (const Option* jail = find("chroot")) out_.set("root_directory", std::string_view(jail->value), jail->at);
        if (const Option* pty = find("pty"); pty != nullptr && section_.yes("pty"))
            lost(*pty, "the handler has a socket, and no terminal");
        if (checks_clients(section_))
            changed(exec, "finds who its client is in TLS_CLIENT_SUBJECT, and not in SSL_CLIENT_DN");
        if (const Option* idle = find("timeoutidle")) lost(*idle, "superd does not look at how long a handler is idle");
        for (const char* name : {"protocol", "local", "timeoutconnect"})
            if (const Option* option = find(name)) lost(*option, "it is for connect");
    }

    /// Whoever stunnel runs as, the handler does.
    void set_user() {
        const Option* const user = find("setuid");
        const Option* const group = find("setgid");
        if (user == nullptr && out_.has("user")) return;  // inetd's
        out_.set("user", user != nullptr ? std::string_view(user->value) : "root",
                 user != nullptr ? user->at : section_.at);
        if (group != nullptr) out_.set("group", std::string_view(group->value), group->at);
        out_.set("supplementary_groups", std::vector<std::string>{}, user != nullptr ? user->at : section_.at);
    }

    void set_proxy() {
        std::vector<std::string> words{"superd-proxy"}, targets;
        const Option* last = nullptr;
        bool has_path = false, has_name = false;
        for (const Option& option : section_.options) {
            if (option.name != "connect") continue;
            last = &option;
            const Endpoint to = endpoint_of(option.value);
            const std::string host = to.host.empty() ? "localhost" : to.host;
            if (!host.starts_with('/') && !all_digits(port_of(to.port)))
                import_.disable(out_, option.at,
                                fmt::format("{}: services(5) has no port \"{}\" here", option.text(), to.port));
            has_path = has_path || host.starts_with('/');
            has_name = has_name || (!host.starts_with('/') && !is_address(host));
            targets.push_back(host.starts_with('/') ? "unix://" + in_jail(option)
                                                    : inet_uri("tcp", host, port_of(to.port)));
        }
        if (lower(section_.value("protocol")) == "proxy") words.insert(words.end(), {"--send-proxy", "v1"});
        if (const Option* local = find("local")) words.insert(words.end(), {"--bind", local->value});
        add_time("timeoutconnect", "--connect-timeout", words);
        add_time("timeoutidle", "--idle-timeout", words);
        words.insert(words.end(), targets.begin(), targets.end());
        out_.set("exec", words, last->at);
        out_.settings.erase("stderr");
        // A socket's mode may let in nobody else than stunnel.
        if (has_path) set_user();
        for (const char* inetds : {"user", "group", "supplementary_groups"})
            if (!has_path) out_.settings.erase(inetds);
        const std::string user = has_path ? out_.settings["user"].toml : toml_text("nobody");
        changed(*last, fmt::format("by a superd-proxy for each client, as {}{}", user.substr(1, user.size() - 2),
                                   has_name ? ", which looks names up for each one" : ""));
        if (lower(section_.value("failover")) == "rr" && targets.size() > 1)
            lost(*find("failover"), "superd-proxy tries its targets in their order");
        if (const Option* jail = find("chroot")) lost(*jail, "superd-proxy is not in there; [sandbox] confines it");
    }

    /// stunnel connects after it has gone there.
    std::string in_jail(const Option& connect) {
        const Option* const jail = find("chroot");
        if (jail == nullptr) return connect.value;
        std::string folder = absolute(jail->value, machine_);
        while (folder.ends_with('/')) folder.pop_back();
        changed(connect, fmt::format("{}{}, by {}", folder, connect.value, jail->text()));
        return folder + connect.value;
    }

    void add_time(const char* name, const char* option, std::vector<std::string>& words) {
        const Option* const time = find(name);
        if (time == nullptr) return;
        const int seconds = seconds_of(*time);
        if (seconds > 0) words.insert(words.end(), {option, std::to_string(seconds) + "s"});
    }

    /// Noted if it is not a number; 0 too, which superd has nothing for.
    int seconds_of(const Option& option) {
        int seconds = 0;
        const char* const end = option.value.data() + option.value.size();
        const auto [at, error] = std::from_chars(option.value.data(), end, seconds);
        if (error != std::errc() || at != end || seconds < 0) {
            import_.disable(out_, option.at, fmt::format("{}: is not a number: stunnel does not start", option.text()));
            return 0;
        }
        return seconds;
    }

    void set(const Option& option) {
        const Known* const one = known(option.name);
        if (&option != find(option.name) && option.name != "socket") return;  // another one counts
        if (one->how == Known::How::lost) return lost(option, one->why);
        if (one->how == Known::How::excludes) return import_.disable(out_, option.at, option.text() + ": " + one->why);
        if (option.name == "socket") return set_socket(option);
        if (option.name == "fips" && section_.yes("fips"))
            return lost(option, "superd-tls has OpenSSL's own providers");
        if (option.name == "transparent" && lower(option.value) == "source")
            return lost(option, "the backend sees superd-proxy as its client; protocol = proxy tells it the real one");
        if (option.name == "timeoutclose" && option.value != "0")
            return lost(option, "superd-tls waits 2 s for a client's close_notify");
        if (option.name == "timeoutbusy") {
            const int seconds = seconds_of(option);
            if (seconds > 0) out_.set("tls.handshake_timeout", fmt::format("{}s", std::min(seconds, 3600)), option.at);
        }
    }

    /// "a|l|r:OPTION=VALUE[:VALUE]": of the listening socket, the client's, the backend's.
    void set_socket(const Option& option) {
        struct Key {
            std::string_view name;
            const char* key;
            bool number;
        };
        static constexpr std::array<Key, 10> keys{{{"SO_KEEPALIVE", "socket.keepalive", false},
                                                   {"TCP_NODELAY", "socket.nodelay", false},
                                                   {"SO_REUSEPORT", "socket.reuse_port", false},
                                                   {"IP_FREEBIND", "socket.freebind", false},
                                                   {"IPV6_V6ONLY", "socket.v6only", false},
                                                   {"SO_RCVBUF", "socket.receive_buffer", true},
                                                   {"SO_SNDBUF", "socket.send_buffer", true},
                                                   {"IP_TOS", "socket.tos", true},
                                                   {"TCP_KEEPCNT", "socket.keepalive_probes", true},
                                                   {"TCP_DEFER_ACCEPT", "socket.defer_accept", true}}};
        const std::size_t colon = option.value.find(':'), equals = option.value.find('=');
        if (colon != 1 || equals == std::string::npos)
            return import_.disable(out_, option.at, option.text() + ": is no socket option: stunnel does not start");
        const std::string name = option.value.substr(2, equals - 2), value = option.value.substr(equals + 1);
        if (option.value[0] == 'r') return lost(option, "superd-proxy sets no options of its sockets");
        if (name == "SO_REUSEADDR") return;  // superd sets it on every socket
        if (name == "SO_BINDTODEVICE") return out_.set("socket.bind_to_device", std::string_view(value), option.at);
        const auto key = std::ranges::find(keys, name, &Key::name);
        if (key == keys.end()) return lost(option, "superd has no such option");
        int number = 0;
        std::from_chars(value.data(), value.data() + value.size(), number);
        if (!key->number) return out_.set(key->key, number != 0, option.at);
        if (std::string_view(key->key) == "socket.defer_accept")
            return out_.set(key->key, fmt::format("{}s", number), option.at);
        out_.set(key->key, number, option.at);
    }

    void set_access() {
        if (!section_.yes("libwrap")) return;
        const std::string own = section_.value("service");
        const auto lists = wrapper_lists(machine_, own.empty() ? section_.name : own);
        if (!lists.empty() && (out_.has("access.allow") || out_.has("access.deny")))
            return import_.disable(out_, find("libwrap")->at,
                                   "libwrap = yes: there is a list for the service already, and it has but one");
        ctl::set_access(import_, out_, lists);
    }

    const Section& section_;
    const Machine& machine_;
    Imported& out_;
    Import& import_;
};

/// "sni = SECTION:NAME" makes a section a part of another.
std::string part_of(const Section& section) {
    const std::string sni = section.value("sni");
    return section.yes("client") ? "" : sni.substr(0, sni.find(':'));
}

std::vector<std::string> behind(const Section& section) {
    std::vector<std::string> out;
    for (const Option& option : section.options)
        if (option.name == "exec" || option.name == "execargs" || option.name == "connect")
            out.push_back(option.text());
    return out;
}

}  // namespace

void map_section(const Section& section, const File& file, const Machine& machine, Import& import) {
    if (const std::string main = part_of(section); !main.empty()) {
        const auto first = std::ranges::find(file.sections, main, &Section::name);
        const Option& sni = *section.find("sni");
        if (first == file.sections.end())
            import.note(sni.at, "", Fate::skipped, fmt::format("{}: there is no such section; left out", sni.text()));
        else if (behind(*first) != behind(section))
            import.note(
                sni.at, service_name(main), Fate::lost,
                fmt::format("{}: all names of a service have one handler, so who asks for this one gets that of "
                            "[{}]",
                            sni.text(), main));
        return;
    }
    std::vector<const Section*> others;
    for (const Section& other : file.sections)
        if (const std::string main = part_of(other); !main.empty() && main == section.name) others.push_back(&other);
    Imported out;
    out.at = section.at;
    out.name = free_name(import.services, service_name(section.name), "2");
    if (Mapper(section, machine, out, import).run(others, true)) import.services.push_back(std::move(out));
}

}  // namespace superd::ctl::stunnel

namespace superd::ctl {

void take_stunnels_place(Import& import, Imported& service, const std::string& program,
                         const std::vector<std::string>& argv, const Machine& machine, const Origin& at) {
    const std::string name = program.substr(program.rfind('/') + 1);
    const bool is_stunnel = name == "stunnel" || name == "stunnel4" || name == "stunnel5";
    if (!is_stunnel || argv.size() > 2 || service.settings["model"].toml != "\"fork\"") return;
    const std::string path = argv.size() == 2 ? argv[1] : "/etc/stunnel/stunnel.conf";
    const auto stays = [&](const std::string& why) {
        import.note(at, service.name, Fate::changed, fmt::format("stunnel goes on as the handler: {}: {}", path, why));
    };
    if (path.starts_with('-')) return stays("superctl does not know what this option does");
    const auto text = machine.read(path);
    if (!text) return stays("cannot be read: " + text.error().text);
    Import trial;
    stunnel::File file = stunnel::read(path, *text, machine, trial.notes);
    if (!file.sections.empty()) return stays("has sections, and stunnel serves on its own");
    file.global.name = "stunnel";
    file.global.at = {path, 0};
    Imported with = service;
    with.settings.erase("argv0");
    const bool fits = stunnel::Mapper(file.global, machine, with, trial).run({}, false);
    const auto stops = [](const Note& note) { return note.fate != Fate::changed && note.fate != Fate::lost; };
    if (const auto first = std::ranges::find_if(trial.notes, stops); !fits || first != trial.notes.end())
        return stays(first != trial.notes.end() ? first->text : "superd cannot do what it says");
    service = std::move(with);
    import.note(at, service.name, Fate::changed, "superd itself does the TLS of stunnel " + path);
    std::ranges::move(trial.notes, std::back_inserter(import.notes));
}

}  // namespace superd::ctl
