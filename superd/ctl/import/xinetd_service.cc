// SPDX-License-Identifier: MIT
// What each attribute of an xinetd entry becomes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "conf/schema.h"
#include "ctl/import/xinetd.h"

namespace superd::ctl::xinetd {

namespace {

/// Why attributes that superd has nothing for are left out.
struct Without {
    std::string_view name;
    const char* why;
};
constexpr std::array<Without, 7> without{{
    {"log_type", "superd has one log for all services"},
    {"banner", "superd itself sends nothing to clients that it serves"},
    {"banner_success", "superd itself sends nothing to clients that it serves"},
    {"banner_fail",
     "superd sends nothing to clients that [access] denies; for those over a limit, see "
     "limits.reject_text"},
    {"rlimit_rss", "Linux does not enforce it"},
    {"rpc_version", "superd does not support RPC"},
    {"rpc_number", "superd does not support RPC"},
}};

class Mapper {
  public:
    Mapper(const Entry& entry, const Machine& machine, Import& import)
        : entry_(entry), machine_(machine), import_(import) {
        out_.at = entry.at;
        out_.name = service_name(first("id").empty() ? entry.service : first("id"));
    }

    void run() {
        const std::string suffix = stream() ? "tcp" : "udp";
        out_.name = free_name(import_.services, out_.name, suffix);
        if (const std::string why = left_out(); !why.empty()) {
            return import_.note(entry_.at, "", Fate::skipped, fmt::format("\"{}\" {}; left out", out_.name, why));
        }
        if (!set_listen()) return;
        is_sensor() ? set_sensor() : set_server();
        if (!entry_.off.empty() || !not_started_.empty()) {
            const std::string& why = entry_.off.empty() ? not_started_ : entry_.off;
            import_.disable(out_, entry_.off.empty() ? entry_.at : entry_.off_at, why);
        }
        import_.services.push_back(std::move(out_));
    }

  private:
    const Attribute* find(std::string_view name) const {
        const auto found = entry_.attributes.find(name);
        return found != entry_.attributes.end() ? &found->second : nullptr;
    }
    std::string first(std::string_view name) const {
        const Attribute* attribute = find(name);
        return attribute != nullptr && !attribute->words.empty() ? attribute->words[0] : "";
    }
    /// Whether the attribute contains `word`, in lower case.
    bool has(std::string_view name, std::string_view word) const {
        const Attribute* attribute = find(name);
        return attribute != nullptr &&
               std::ranges::any_of(attribute->words, [&](const std::string& one) { return lower(one) == word; });
    }
    bool yes(std::string_view name) const { return lower(first(name)) == "yes"; }
    Origin origin(std::string_view name) const {
        const Attribute* attribute = find(name);
        return attribute != nullptr ? attribute->at : entry_.at;
    }
    bool stream() const {
        const std::string type = lower(first("socket_type"));
        return type.empty() ? lower(first("protocol")) != "udp" : type != "dgram";
    }
    bool is_sensor() const { return has("flags", "sensor"); }
    /// xinetd takes every sensor for one, whatever its type and server.
    bool internal() const { return has("type", "internal") || is_sensor(); }
    bool redirects() const { return find("redirect") != nullptr && !internal(); }
    bool ipv4_alone() const { return has("flags", "ipv4") && !has("flags", "ipv6"); }
    std::string protocol() const {
        const std::string given = lower(first("protocol"));
        return !given.empty() ? given : stream() ? "tcp" : "udp";
    }
    void note(const Origin& at, Fate fate, std::string text) { import_.note(at, out_.name, fate, std::move(text)); }

    /// Why there can be no service at all; empty: there can.
    std::string left_out() const {
        if (has("type", "rpc")) return "is a Sun RPC service, registered with a portmapper, which superd does not do";
        if (has("type", "tcpmux") || has("type", "tcpmuxplus") || entry_.service == "tcpmux")
            return "is served through TCPMUX (RFC 1078), which superd does not speak";
        if (is_sensor() && !stream()) return "is a SENSOR for datagrams: whoever forges a sender would shut others out";
        if (redirects() && !stream()) return "redirects datagrams, which xinetd does not start";
        if (const std::string type = lower(first("socket_type")); !type.empty() && type != "stream" && type != "dgram")
            return fmt::format("has socket_type \"{}\": superd serves stream and dgram", type);
        if (protocol() != (stream() ? "tcp" : "udp"))
            return fmt::format("has protocol \"{}\" on a {} socket, which superd does not serve", protocol(),
                               stream() ? "stream" : "dgram");
        if (internal() && !is_sensor() && shipped_handler(entry_.service).empty())
            return "is internal to xinetd, and superd ships no handler for it";
        if (!internal() && !redirects() && first("server").empty()) return "has no server";
        return "";
    }

    /// What xinetd requires besides valid values.
    std::string why_not_started() const {
        for (const char* name : {"wait", "user"}) {
            if (find(name) == nullptr && (!internal() || std::string_view(name) == "wait"))
                return fmt::format("has no {}, without which xinetd does not start it", name);
        }
        if (find("socket_type") == nullptr && find("protocol") == nullptr)
            return "has no socket_type, without which xinetd does not start it";
        if (has("flags", "nameinargs") && (internal() || find("server_args") == nullptr))
            return "has NAMEINARGS without server_args, and xinetd does not start it";
        if (has("flags", "nameinargs") && entry_.late_name)
            return "has server_args before flags NAMEINARGS: xinetd starts the server without a name and arguments";
        if (has("log_on_success", "traffic") && !redirects())
            return "logs TRAFFIC without redirecting, and xinetd does not start it";
        return why_no_port();
    }

    std::string why_no_port() const {
        const std::string port = first("port");
        if (has("type", "unlisted")) return port.empty() ? "is UNLISTED without a port: xinetd does not start it" : "";
        const auto known = machine_.port(entry_.service, protocol());
        if (!known)
            return fmt::format("services(5) has no {}/{} here, and the type is not UNLISTED: xinetd does not start it",
                               entry_.service, protocol());
        if (!port.empty() && std::to_string(*known) != port)
            return fmt::format(
                "services(5) has port {} for it, not {}, and the type is not UNLISTED: xinetd does not "
                "start it",
                *known, port);
        return "";
    }

    /// Where it listens, by xinetd's rules. Without a family flag: IPv6 and IPv4 on one socket. An address of the other
    /// family than the flag's counts as none. Of a name's addresses: the first of the flag's family, which is IPv6
    /// without a flag.
    bool set_listen() {
        not_started_ = why_not_started();
        const std::string bind = first("bind");
        std::string address = ipv4_alone() ? "0.0.0.0" : yes("v6only") ? "::" : "*";
        if (!bind.empty()) {
            const bool literal = is_address(bind), any = !has("flags", "ipv4") && !has("flags", "ipv6");
            const char* family = ipv4_alone() ? "4" : literal && any ? "" : "6";
            const auto found = listen_addresses(machine_, bind, family);
            if (found.empty() && !literal) {
                import_.note(
                    origin("bind"), "", Fate::skipped,
                    fmt::format("\"{}\" listens on \"{}\", which has no address now; left out", out_.name, bind));
                return false;
            }
            if (found.empty()) {
                note(origin("bind"), Fate::changed,
                     fmt::format("bind = {} does not match the family in flags: it listens on {}, as under xinetd",
                                 bind, address == "*" ? "all addresses" : address));
            } else if (!literal) {
                note(origin("bind"), Fate::changed, fmt::format("bind = {}: {} now", bind, found[0]));
            }
            if (!found.empty() && (found[0] != "::" || yes("v6only"))) address = found[0];
        }
        const std::string port = first("port").empty() ? entry_.service : first("port");
        const char* from = find("port") != nullptr ? "port" : find("bind") != nullptr ? "bind" : "";
        out_.set("listen", std::vector<std::string>{inet_uri(protocol(), address, port)}, origin(from));
        return true;
    }

    void set_server() {
        set_model(import_, out_, stream(), yes("wait") && !redirects(), internal(), origin("wait"));
        if (redirects() && yes("wait"))
            import_.disable(out_, origin("wait"), "redirects with wait = yes, and so hands no connection on");
        const std::string daemon = redirects() ? set_redirect() : set_program();
        for (const auto& [name, attribute] : entry_.attributes) set(name, attribute);
        set_lists(daemon);
        // Last, as stunnel comes after xinetd: it must see xinetd's lists.
        if (!argv_.empty()) take_stunnels_place(import_, out_, first("server"), argv_, machine_, origin("server"));
    }

    /// A trap: nobody is served, and who comes is kept out of every service for deny_time minutes.
    void set_sensor() {
        const Origin& at = origin("flags");
        out_.set("model", "fork", at);
        out_.set("exec", std::vector<std::string>{"superd-discard"}, at);
        out_.set("access.deny", std::vector<std::string>{"0.0.0.0/0", "::/0"}, at);
        const std::string word = lower(first("deny_time"));
        const int given = word == "forever" ? -1 : number_of(word);
        if (given == 0 || given < -1) return;  // it only logs
        constexpr int most = 1000 * 24 * 60;
        const std::string time = fmt::format("{}m", given < 0 ? most : std::min(given, most));
        out_.set("penalty.touched", time, origin("deny_time"));
        out_.set("penalty.max", time, origin("deny_time"));
        out_.set("penalty.threshold", "0s", at);
        out_.set("penalty.refused", "0s", at);
        out_.set("penalty.exempt", std::vector<std::string>{}, at);
        out_.set("penalty.everywhere", true, at);
        note(origin("deny_time"), Fate::changed,
             fmt::format("SENSOR: deny_time counts from the first touch, and is not prolonged by others{}",
                         given < 0 ? "; FOREVER is 1000 days" : ""));
    }

    /// xinetd's own relay, as a process for each client there and here.
    std::string set_redirect() {
        const Attribute& target = *find("redirect");
        const Origin& at = target.at;
        out_.set("exec", std::vector<std::string>{"superd-proxy", inet_uri("tcp", target.words[0], target.words[1])},
                 at);
        note(at, Fate::changed,
             fmt::format("redirect = {}: by superd-proxy, as nobody, which passes half-closes on{}",
                         fmt::join(target.words, " "),
                         is_address(target.words[0]) ? "" : " and looks the name up for each client"));
        return has("flags", "nolibwrap") ? "" : entry_.service;
    }

    /// The daemon name to look up in hosts.allow and hosts.deny; "": do not look.
    std::string set_program() {
        if (internal()) {
            const std::string shipped = shipped_handler(entry_.service);
            out_.set("exec", std::vector<std::string>{shipped}, origin("type"));
            const std::string user = first("user");
            note(origin("type"), Fate::changed,
                 fmt::format("INTERNAL: served by {}{}", shipped,
                             user.empty() || user == "nobody" ? "" : fmt::format(", as nobody instead of {}", user)));
            return has("flags", "nolibwrap") ? "" : entry_.service;
        }
        const Attribute* args = find("server_args");
        std::vector<std::string> argv = args != nullptr ? args->words : std::vector<std::string>{};
        const std::string server = first("server");
        if (!has("flags", "nameinargs") || argv.empty())
            argv.insert(argv.begin(), server.substr(server.rfind('/') + 1));
        const std::string name = argv[0].substr(argv[0].rfind('/') + 1);
        const std::string behind = set_handler(import_, out_, server, argv, origin("server"));
        out_.set("user", first("user").empty() ? "nobody" : first("user"), origin("user"));
        // xinetd.conf(5): without groups = yes the handler has only its primary group.
        if (!yes("groups")) out_.set("supplementary_groups", std::vector<std::string>{}, origin("user"));
        out_.set("stderr", "socket", entry_.at);
        argv_ = std::move(argv);
        if (has("flags", "nolibwrap")) return behind;
        return has("flags", "nameinargs") ? name : server.substr(server.rfind('/') + 1);
    }

    void set(const std::string& name, const Attribute& attribute) {
        static const std::map<std::string_view, void (Mapper::*)(const Attribute&)> known{
            {"flags", &Mapper::set_flags},
            {"group", &Mapper::set_group},
            {"instances", &Mapper::set_instances},
            {"per_source", &Mapper::set_per_source},
            {"cps", &Mapper::set_cps},
            {"max_load", &Mapper::set_max_load},
            {"nice", &Mapper::set_nice},
            {"umask", &Mapper::set_umask},
            {"env", &Mapper::set_env},
            {"passenv", &Mapper::set_passenv},
            {"access_times", &Mapper::set_access_times},
            {"log_on_success", &Mapper::set_log_on_success},
            {"log_on_failure", &Mapper::set_log_on_failure},
        };
        // These had their turn before.
        constexpr std::array<std::string_view, 17> used{
            "id",      "socket_type", "protocol",  "wait",        "user",    "groups",
            "server",  "port",        "type",      "server_args", "bind",    "v6only",
            "libwrap", "only_from",   "no_access", "deny_time",   "redirect"};
        if (const auto found = known.find(name); found != known.end()) return (this->*found->second)(attribute);
        if (std::ranges::find(used, name) != used.end()) return;
        const conf::Key* key = conf::find_counterpart(conf::Elsewhere::xinetd, name);
        if (key != nullptr && key->section == "rlimits") return set_rlimit(key->full_name(), attribute);
        const auto found = std::ranges::find(without, name, &Without::name);
        if (found == without.end()) return;
        note(attribute.at, Fate::lost, fmt::format("{} = {}: {}", name, fmt::join(attribute.words, " "), found->why));
    }

    void set_flags(const Attribute& attribute) {
        if (has("flags", "keepalive") && stream()) out_.set("socket.keepalive", true, attribute.at);
        if (has("flags", "nodelay") && stream()) out_.set("socket.nodelay", true, attribute.at);
        if (has("flags", "idonly"))
            import_.disable(out_, attribute.at, "flags IDONLY: superd does not ask ident servers about its clients");
        if (has("flags", "labeled"))
            import_.disable(out_, attribute.at, "flags LABELED: superd does not set an SELinux context");
        if (has("flags", "noretry"))
            note(attribute.at, Fate::lost, "flags NORETRY: superd waits until a process can be started");
    }

    void set_group(const Attribute& attribute) {
        if (!internal() && !redirects()) out_.set("group", first("group"), attribute.at);
    }

    static int number_of(std::string_view text) {
        int number = 0;
        if (text.starts_with('+')) text.remove_prefix(1);
        std::from_chars(text.data(), text.data() + text.size(), number);
        return number;
    }

    void set_count(const char* name, const char* key, const Attribute& attribute) {
        const bool unlimited = lower(first(name)) == "unlimited";
        constexpr int most = 1'000'000;  // limit of limits.instances
        if (unlimited && std::string_view(key) == "limits.per_source") return;
        const int number = unlimited ? most : number_of(first(name));
        if (number > 0) return out_.set(key, std::min(number, most), attribute.at);
        import_.disable(out_, attribute.at, fmt::format("{} = 0: xinetd refuses everybody", name));
    }
    void set_instances(const Attribute& attribute) { set_count("instances", "limits.instances", attribute); }
    void set_per_source(const Attribute& attribute) { set_count("per_source", "limits.per_source", attribute); }

    void set_cps(const Attribute& attribute) {
        const int number = number_of(first("cps"));
        if (number == 0) return;  // no limit
        out_.set("limits.rate", fmt::format("{}/s", number), attribute.at);
        note(attribute.at, Fate::changed,
             fmt::format("cps = {}: past {} a second clients wait for their turn, and the service does not stop for {} "
                         "seconds",
                         fmt::join(attribute.words, " "), number, attribute.words[1]));
        import_.notes.back().key = "limits.rate";
    }

    void set_max_load(const Attribute& attribute) {
        const std::string word = first("max_load");
        double load = 0;
        std::from_chars(word.data(), word.data() + word.size(), load);
        const std::string text = fmt::format("{}", load);
        out_.set_toml("limits.max_load", text.find_first_of(".e") == std::string::npos ? text + ".0" : text,
                      attribute.at);
    }

    void set_nice(const Attribute& attribute) { out_.set("nice", number_of(first("nice")), attribute.at); }

    void set_umask(const Attribute& attribute) {
        std::string word = first("umask");
        if (word.starts_with('+')) word.erase(0, 1);
        out_.set("umask", word.starts_with('0') ? word : "0" + word, attribute.at);
    }

    void set_env(const Attribute& attribute) {
        std::map<std::string, std::string> table;
        for (const std::string& word : attribute.words) {
            const std::size_t equals = word.find('=');
            if (equals == std::string::npos || equals == 0) {
                note(attribute.at, Fate::lost, fmt::format("env {}: not NAME=VALUE", word));
            } else {
                table[word.substr(0, equals)] = word.substr(equals + 1);
            }
        }
        out_.set_environment(table, attribute.at);
    }

    void set_passenv(const Attribute& attribute) {
        if (!attribute.words.empty()) out_.set("pass_environment", attribute.words, attribute.at);
    }

    /// no_access before only_from: a client in both stays out.
    void set_lists(std::string daemon) {
        std::vector<AccessList> lists;
        AccessList own{"only_from", origin("only_from"), {}, find("only_from") == nullptr, {}, {}};
        if (const Attribute* denied = find("no_access"); denied != nullptr) {
            if (own.rest) own.name = "no_access";
            if (own.rest) own.at = denied->at;
            own.add(addresses_of(*denied, own.lost_out, true), false);
        }
        if (const Attribute* allowed = find("only_from"); allowed != nullptr)
            own.add(addresses_of(*allowed, own.lost_in, false), true);
        if (!own.rest || !own.rules.empty() || !own.lost_out.empty()) lists.push_back(std::move(own));
        if (!daemon.empty() && !first("libwrap").empty()) daemon = first("libwrap");
        if (!daemon.empty()) std::ranges::move(wrapper_lists(machine_, daemon), std::back_inserter(lists));
        set_access(import_, out_, lists);
        if (yes("wait") && !lists.empty()) {
            note(lists[0].at, Fate::changed,
                 fmt::format("{}: xinetd checks it when it starts the handler{}; superd checks each client",
                             lists[0].name, stream() ? ", where it does not know the client yet and fails" : ""));
        }
    }

    /// xinetd looks up a client's name. On an IPv6 socket, 127.0.0.1 has none.
    std::vector<sys::Prefix> addresses_of(const Attribute& list, std::vector<std::string>& lost, bool deny) {
        std::vector<std::string> names;
        std::vector<sys::Prefix> out = prefixes_of(list.words, names);
        for (const std::string& name : names) {
            if (lower(name) != "localhost") {
                lost.push_back(name);
                continue;
            }
            if (deny || ipv4_alone()) out.push_back(*sys::parse_prefix("127.0.0.1"));
            if (deny || !ipv4_alone()) out.push_back(*sys::parse_prefix("::1"));
            if (!deny)
                note(list.at, Fate::changed,
                     ipv4_alone() ? "localhost is 127.0.0.1 here"
                                  : "localhost is ::1 here: on a socket that also serves IPv6, xinetd does not know "
                                    "127.0.0.1 by that name");
        }
        return out;
    }

    void set_access_times(const Attribute& attribute) {
        std::vector<std::string> times;
        for (const std::string& word : attribute.words) {
            std::string whole;
            for (const std::string_view part : split(word, '-')) {
                const std::size_t colon = std::min(part.find(':'), part.size());
                whole += fmt::format("{}{:02}:{:02}", whole.empty() ? "" : "-", number_of(part.substr(0, colon)),
                                     number_of(part.substr(std::min(colon + 1, part.size()))));
            }
            times.push_back(whole);
        }
        out_.set("access.times", times, attribute.at);
    }

    void set_log_on_success(const Attribute& attribute) {
        if (!attribute.words.empty()) out_.set("log.connections", "all", attribute.at);
        if (has("log_on_success", "traffic") && redirects()) out_.set("log.usage", true, attribute.at);
        report_userid("log_on_success", attribute);
    }
    void set_log_on_failure(const Attribute& attribute) { report_userid("log_on_failure", attribute); }
    void report_userid(const char* name, const Attribute& attribute) {
        if (!has(name, "userid")) return;
        note(attribute.at, Fate::lost,
             fmt::format("{} USERID: superd does not ask ident servers about its clients", name));
    }

    void set_rlimit(const std::string& key, const Attribute& attribute) {
        std::string word = attribute.words[0];
        if (lower(word) == "unlimited") return out_.set(key, "unlimited", attribute.at);
        if (all_digits(word)) return out_.set_toml(key, plain(word), attribute.at);
        word.back() = static_cast<char>(word.back() & ~0x20);
        const auto bytes = parse_size(word);
        if (!bytes) return import_.disable(out_, attribute.at, fmt::format("rlimit {}: out of range", word));
        out_.set_toml(key, fmt::format("{}", *bytes), attribute.at);
    }

    /// TOML does not allow leading zeros.
    static std::string plain(const std::string& digits) {
        const std::size_t start = std::min(digits.find_first_not_of('0'), digits.size() - 1);
        return digits.substr(start);
    }

    const Entry& entry_;
    const Machine& machine_;
    Import& import_;
    Imported out_;
    std::vector<std::string> argv_;  ///< of a program, with argv[0]
    std::string not_started_;        ///< why xinetd does not start it, apart from its values
};

}  // namespace

void map_service(const Entry& entry, const Machine& machine, Import& import) {
    Mapper(entry, machine, import).run();
}

}  // namespace superd::ctl::xinetd
