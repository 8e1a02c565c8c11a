// SPDX-License-Identifier: MIT
// What each attribute of an xinetd entry comes to.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "ctl/import/xinetd.h"

namespace superd::ctl::xinetd {

namespace {

/// Why attributes that superd has nothing for are left out.
constexpr std::array<std::pair<std::string_view, const char*>, 11> without{{
    {"log_type", "superd has one log for all services"},
    {"libwrap", "hosts.allow and hosts.deny are not consulted; [access] takes their place"},
    {"banner", "superd sends nothing by itself to clients that it serves"},
    {"banner_success", "superd sends nothing by itself to clients that it serves"},
    {"banner_fail",
     "superd sends nothing to clients that [access] denies; for those over a limit, see "
     "limits.reject_text"},
    {"mdns", "superd announces nothing"},
    {"deny_time", "superd has no SENSOR"},
    {"rlimit_rss", "Linux does not enforce it"},
    {"rpc_version", "superd knows no RPC"},
    {"rpc_number", "superd knows no RPC"},
    {"redirect", "superd forwards no connections"},
}};

class Mapper {
  public:
    Mapper(const Entry& entry, Import& import) : entry_(entry), import_(import) {
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
        set_model(import_, out_, stream(), yes("wait"), internal(), origin("wait"));
        set_program();
        for (const auto& [name, attribute] : entry_.attributes) set(name, attribute);
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
    bool has(std::string_view name, std::string_view word) const {
        const Attribute* attribute = find(name);
        return attribute != nullptr && std::ranges::find(attribute->words, word) != attribute->words.end();
    }
    bool yes(std::string_view name) const {
        return first(name) == "yes" || first(name) == "true" || first(name) == "on";
    }
    Origin origin(std::string_view name) const {
        const Attribute* attribute = find(name);
        return attribute != nullptr ? attribute->at : entry_.at;
    }
    bool stream() const { return first("socket_type") != "dgram"; }
    bool internal() const { return has("type", "INTERNAL"); }
    std::string protocol() const {
        const std::string given = first("protocol");
        return !given.empty() ? given : stream() ? "tcp" : "udp";
    }
    void note(const Origin& at, Fate fate, std::string text) { import_.note(at, out_.name, fate, std::move(text)); }

    /// Why there can be no service at all; empty: there can.
    std::string left_out() const {
        if (has("type", "RPC")) return "is a Sun RPC service, registered with a portmapper, which superd does not do";
        if (has("type", "TCPMUX") || has("type", "TCPMUXPLUS") || entry_.service == "tcpmux")
            return "is served through TCPMUX (RFC 1078), which superd does not speak";
        if (has("flags", "SENSOR")) return "is a SENSOR, a trap for scanners, which superd does not have";
        if (find("redirect") != nullptr)
            return fmt::format("redirects to {}, and superd forwards no connections", first("redirect"));
        if (const std::string type = first("socket_type"); type != "stream" && type != "dgram")
            return fmt::format("has socket_type \"{}\": superd serves stream and dgram", type);
        if (protocol() != (stream() ? "tcp" : "udp"))
            return fmt::format("has protocol \"{}\" on a {} socket, which superd does not serve", protocol(),
                               first("socket_type"));
        if (internal() && shipped_handler(entry_.service).empty())
            return "is inside of xinetd, and superd ships no handler for it";
        if (!internal() && first("server").empty()) return "has no server";
        return "";
    }

    bool set_listen() {
        const char* bind = find("bind") != nullptr ? "bind" : "interface";
        std::string address = first(bind);
        const bool v6 = has("flags", "IPv6"), v4 = has("flags", "IPv4");
        if (address == "localhost") address = v6 ? "::1" : "127.0.0.1";
        if (!address.empty() && !is_address(address)) {
            import_.note(origin(bind), "", Fate::skipped,
                         fmt::format("\"{}\" listens on \"{}\": superd listens on addresses, not on names; left out",
                                     out_.name, address));
            return false;
        }
        // Without a flag xinetd listens on IPv6 and takes IPv4 there.
        if (address.empty()) address = v4 && !v6 ? "0.0.0.0" : yes("v6only") ? "::" : "*";
        const std::string port = first("port").empty() ? entry_.service : first("port");
        const char* from = find("port") != nullptr ? "port" : find(bind) != nullptr ? bind : "";
        out_.set("listen", std::vector<std::string>{inet_uri(protocol(), address, port)}, origin(from));
        return true;
    }

    void set_program() {
        if (internal()) {
            const std::string shipped = shipped_handler(entry_.service);
            out_.set("exec", std::vector<std::string>{shipped}, origin("type"));
            const std::string user = first("user");
            return note(
                origin("type"), Fate::changed,
                fmt::format("INTERNAL: served by {}{}", shipped,
                            user.empty() || user == "nobody" ? "" : fmt::format(", as nobody instead of {}", user)));
        }
        const Attribute* args = find("server_args");
        std::vector<std::string> argv = args != nullptr ? args->words : std::vector<std::string>{};
        const std::string server = first("server");
        if (!has("flags", "NAMEINARGS")) argv.insert(argv.begin(), server.substr(server.rfind('/') + 1));
        set_handler(import_, out_, server, std::move(argv), origin("server"));
        if (first("user").empty()) {
            note(entry_.at, Fate::changed, "has no user, so that xinetd would not start it: runs as nobody");
        } else {
            out_.set("user", first("user"), origin("user"));
            // xinetd.conf(5): without groups = yes the handler has its primary group alone.
            if (!yes("groups")) out_.set("supplementary_groups", std::vector<std::string>{}, origin("user"));
        }
        out_.set("stderr", "socket", entry_.at);
    }

    void set(const std::string& name, const Attribute& attribute) {
        static const std::map<std::string_view, void (Mapper::*)(const Attribute&)> known{
            {"flags", &Mapper::set_flags},
            {"type", &Mapper::set_type},
            {"disable", &Mapper::set_disable},
            {"group", &Mapper::set_group},
            {"instances", &Mapper::set_instances},
            {"per_source", &Mapper::set_per_source},
            {"cps", &Mapper::set_cps},
            {"max_load", &Mapper::set_max_load},
            {"nice", &Mapper::set_nice},
            {"umask", &Mapper::set_umask},
            {"env", &Mapper::set_env},
            {"passenv", &Mapper::set_passenv},
            {"only_from", &Mapper::set_only_from},
            {"no_access", &Mapper::set_no_access},
            {"access_times", &Mapper::set_access_times},
            {"log_on_success", &Mapper::set_log_on_success},
            {"log_on_failure", &Mapper::set_log_on_failure},
        };
        static const std::map<std::string_view, const char*> rlimits{{"rlimit_as", "as"},
                                                                     {"rlimit_cpu", "cpu"},
                                                                     {"rlimit_data", "data"},
                                                                     {"rlimit_stack", "stack"},
                                                                     {"rlimit_files", "nofile"}};
        // These had their turn before.
        constexpr std::array<std::string_view, 13> used{"id",        "socket_type", "protocol", "wait",        "user",
                                                        "groups",    "server",      "port",     "server_args", "bind",
                                                        "interface", "v6only",      "flags"};
        if (const auto found = known.find(name); found != known.end()) return (this->*found->second)(attribute);
        if (const auto found = rlimits.find(name); found != rlimits.end())
            return set_rlimit(found->second, name, attribute);
        if (std::ranges::find(used, name) != used.end()) return;
        const auto found = std::ranges::find(without, name, &std::pair<std::string_view, const char*>::first);
        note(attribute.at, Fate::lost,
             fmt::format("{} = {}: {}", name, fmt::join(attribute.words, " "),
                         found != without.end() ? found->second : "no attribute that xinetd has"));
    }

    void set_flags(const Attribute& attribute) {
        for (const std::string& flag : attribute.words) {
            if (flag == "KEEPALIVE" && stream()) {
                out_.set("socket.keepalive", true, attribute.at);
            } else if (flag == "NODELAY" && stream()) {
                out_.set("socket.nodelay", true, attribute.at);
            } else if (flag == "IDONLY") {
                import_.disable(out_, attribute.at, "flags IDONLY: superd asks no ident server who its clients are");
            } else if (flag == "LABELED") {
                import_.disable(out_, attribute.at, "flags LABELED: superd sets no SELinux context");
            } else if (flag == "INTERCEPT") {
                note(attribute.at, Fate::changed, "flags INTERCEPT: [access] is enforced by the kernel here");
            } else if (flag == "NORETRY") {
                note(attribute.at, Fate::lost, "flags NORETRY: superd waits until there are processes again");
            } else if (flag != "KEEPALIVE" && flag != "NODELAY" && flag != "REUSE" && flag != "IPv4" &&
                       flag != "IPv6" && flag != "NAMEINARGS" && flag != "NOLIBWRAP") {
                note(attribute.at, Fate::lost, fmt::format("flags {}: no flag that xinetd has", flag));
            }
        }
    }

    void set_type(const Attribute& attribute) {
        for (const std::string& type : attribute.words) {
            if (type != "INTERNAL" && type != "UNLISTED")
                note(attribute.at, Fate::lost, fmt::format("type {}: no type that xinetd has", type));
        }
    }

    void set_disable(const Attribute& attribute) {
        if (yes("disable")) out_.set("enabled", false, attribute.at);
    }

    void set_group(const Attribute& attribute) {
        if (!internal()) out_.set("group", first("group"), attribute.at);
    }

    static std::optional<int> number_of(std::string_view text) {
        int number = 0;
        const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
        return status == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
    }

    void no_number(const char* name, const Attribute& attribute) {
        note(attribute.at, Fate::lost, fmt::format("{} = {}: not a number", name, fmt::join(attribute.words, " ")));
    }

    void set_count(const char* name, const char* key, const Attribute& attribute) {
        const std::string word = attribute.words.empty() ? "" : attribute.words[0];
        const bool unlimited = word == "UNLIMITED" || word == "-1";
        constexpr int most = 1'000'000;  // of limits.instances
        if (unlimited && std::string_view(key) == "limits.per_source") return;
        if (const auto number = unlimited ? std::optional(most) : number_of(word)) {
            out_.set(key, *number, attribute.at);
        } else {
            no_number(name, attribute);
        }
    }
    void set_instances(const Attribute& attribute) { set_count("instances", "limits.instances", attribute); }
    void set_per_source(const Attribute& attribute) { set_count("per_source", "limits.per_source", attribute); }

    void set_cps(const Attribute& attribute) {
        const auto number = number_of(first("cps"));
        if (!number) return no_number("cps", attribute);
        out_.set("limits.rate", fmt::format("{}/s", *number), attribute.at);
        if (attribute.words.size() > 1) {
            note(
                attribute.at, Fate::changed,
                fmt::format("cps = {}: past {} a second clients wait for their turn, and the service does not stop for "
                            "{} seconds",
                            fmt::join(attribute.words, " "), *number, attribute.words[1]));
        }
    }

    void set_max_load(const Attribute& attribute) {
        const std::string word = first("max_load");
        double load = 0;
        const auto [end, status] =
            std::from_chars(word.data(), word.data() + word.size(), load, std::chars_format::fixed);
        if (status != std::errc{} || end != word.data() + word.size()) return no_number("max_load", attribute);
        const std::string text = fmt::format("{}", load);
        out_.set_toml("limits.max_load", text.find_first_of(".e") == std::string::npos ? text + ".0" : text,
                      attribute.at);
    }

    void set_nice(const Attribute& attribute) {
        const auto number = number_of(first("nice"));
        if (!number) return no_number("nice", attribute);
        out_.set("nice", *number, attribute.at);
    }

    void set_umask(const Attribute& attribute) {
        const std::string word = first("umask");
        out_.set("umask", word.starts_with('0') || word.empty() ? word : "0" + word, attribute.at);
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

    void set_only_from(const Attribute& attribute) {
        std::vector<std::string> names, prefixes = prefixes_of(attribute.words, names);
        for (const std::string& name : names) {
            note(
                attribute.at, Fate::lost,
                fmt::format("only_from {}: superd knows clients by their addresses, not by names: these are not let in",
                            name));
        }
        if (!prefixes.empty()) return out_.set("access.allow", prefixes, attribute.at);
        // An empty allow list would let everybody in. This takes the place of what no_access denies, which is less.
        out_.set("access.deny", std::vector<std::string>{"0.0.0.0/0", "::/0"}, attribute.at);
        if (names.empty()) note(attribute.at, Fate::changed, "only_from is empty: nobody is let in (access.deny)");
    }

    void set_no_access(const Attribute& attribute) {
        std::vector<std::string> names;
        const std::vector<std::string> prefixes = prefixes_of(attribute.words, names);
        if (!names.empty()) {
            import_.disable(
                out_, attribute.at,
                fmt::format("no_access {}: superd knows clients by their addresses, not by names, and would let "
                            "these in",
                            fmt::join(names, " ")));
        }
        if (!prefixes.empty()) out_.set("access.deny", prefixes, attribute.at);
    }

    void set_access_times(const Attribute& attribute) {
        std::vector<std::string> times;
        for (const std::string& word : attribute.words) {
            std::string whole;
            for (const std::string_view part : split(word, '-')) {
                const std::size_t colon = std::min(part.find(':'), part.size());
                if (!whole.empty()) whole += '-';
                whole += fmt::format("{}{}{}", colon == 1 ? "0" : "", part, part.size() == colon + 2 ? "0" : "");
            }
            times.push_back(whole);
        }
        out_.set("access.times", times, attribute.at);
    }

    void set_log_on_success(const Attribute& attribute) {
        if (!attribute.words.empty()) out_.set("log.connections", "all", attribute.at);
        report_userid("log_on_success", attribute);
    }
    void set_log_on_failure(const Attribute& attribute) { report_userid("log_on_failure", attribute); }
    void report_userid(const char* name, const Attribute& attribute) {
        if (!has(name, "USERID")) return;
        note(attribute.at, Fate::lost, fmt::format("{} USERID: superd asks no ident server who its clients are", name));
    }

    void set_rlimit(const std::string& key, const std::string& name, const Attribute& attribute) {
        const std::string word = attribute.words.empty() ? "" : attribute.words[0];
        if (word == "UNLIMITED") return out_.set("rlimits." + key, "unlimited", attribute.at);
        if (!word.empty() && all_digits(word)) return out_.set_toml("rlimits." + key, plain(word), attribute.at);
        if (key != "cpu" && key != "nofile" && parse_size(word)) return out_.set("rlimits." + key, word, attribute.at);
        no_number(name.c_str(), attribute);
    }

    /// TOML takes no leading zeros.
    static std::string plain(const std::string& digits) {
        const std::size_t start = std::min(digits.find_first_not_of('0'), digits.size() - 1);
        return digits.substr(start);
    }

    const Entry& entry_;
    Import& import_;
    Imported out_;
};

}  // namespace

void map_service(const Entry& entry, Import& import) {
    Mapper(entry, import).run();
}

}  // namespace superd::ctl::xinetd
