// SPDX-License-Identifier: MIT
// One entry of inetd.conf as a service.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "ctl/import/access.h"
#include "ctl/import/inetd.h"

namespace superd::ctl::inetd {

namespace {

class Mapper {
  public:
    Mapper(const Entry& entry, Dialect dialect, const Machine& machine, Import& import)
        : entry_(entry), dialect_(dialect), machine_(machine), import_(import) {
        out_.at = entry.at;
    }

    void run() {
        if (const std::string why = left_out(); !why.empty()) return skip(why);
        const std::string_view stem = std::string_view(entry_.service).substr(entry_.service.rfind('/') + 1);
        out_.name = free_name(import_.services, service_name(stem), service_name(entry_.protocol));
        const std::string shipped = internal() ? shipped_handler(entry_.service) : "";
        if (!set_listen()) return;
        set_model(import_, out_, stream(), entry_.wait, internal(), entry_.at);
        set_limits();
        set_buffer("socket.send_buffer", entry_.send_buffer);
        set_buffer("socket.receive_buffer", entry_.receive_buffer);
        if (internal()) {
            out_.set("exec", std::vector<std::string>{shipped}, entry_.at);
            note(Fate::changed,
                 fmt::format("internal: served by {}{}", shipped,
                             entry_.user == "nobody" ? "" : fmt::format(", as nobody instead of {}", entry_.user)));
        } else {
            set_handler();
        }
        if (!entry_.off.empty()) import_.disable(out_, entry_.at, entry_.off);
        finish();
    }

  private:
    /// inetd starts a handler for each socket; superd's iterative model runs one at a time for the whole service.
    void finish() {
        const bool alone = value_is("model", "\"iterative\"") && listen_.size() > 1;
        for (const std::string& uri : alone ? listen_ : std::vector<std::string>{""}) {
            Imported one = out_;
            if (alone) {
                one.set("listen", std::vector<std::string>{uri}, entry_.at);
                one.name = free_name(import_.services, out_.name, uri.find('[') != std::string::npos ? "ipv6" : "ipv4");
            }
            import_.services.push_back(std::move(one));
        }
        if (alone)
            note(Fate::changed,
                 fmt::format("one service for each of its {} sockets, since each has its own handler", listen_.size()));
    }
    bool value_is(const std::string& key, std::string_view toml) const {
        const auto found = out_.settings.find(key);
        return found != out_.settings.end() && found->second.toml == toml;
    }

    bool stream() const { return entry_.type == "stream"; }
    bool internal() const { return entry_.program == "internal"; }
    bool is_path() const { return entry_.protocol == "unix"; }
    void note(Fate fate, std::string text) { import_.note(entry_.at, out_.name, fate, std::move(text)); }
    void skip(const std::string& why) {
        import_.note(entry_.at, "", Fate::skipped, fmt::format("\"{}\" {}; left out", entry_.service, why));
    }

    std::string left_out() const {
        const std::string word = entry_.service.substr(0, entry_.service.find('/'));
        if (entry_.protocol.starts_with("rpc/"))
            return "is a Sun RPC service, registered with a portmapper, which superd does not do";
        if (word == "tcpmux" && !is_path()) return "is served through TCPMUX (RFC 1078), which superd does not speak";
        if (!stream() && entry_.type != "dgram")
            return fmt::format("has socket type \"{}\": superd serves stream and dgram", entry_.type);
        if (internal() && shipped_handler(entry_.service).empty())
            return "is internal to inetd, and superd ships no handler for it";
        return "";
    }

    /// What each inetd binds for all addresses; empty: it does not have this protocol.
    std::vector<std::string> wildcards(std::string_view family) const {
        const bool gnu = dialect_ == Dialect::gnu;
        if (family.empty() && dialect_ == Dialect::openbsd) return {"0.0.0.0", "::"};
        if (family.empty() || family == "4") return {"0.0.0.0"};
        // OpenBSD's IPv6 datagram sockets also take IPv4.
        const bool openbsd_udp = dialect_ == Dialect::openbsd && entry_.type == "dgram";
        if (family == "6") return {gnu || openbsd_udp ? "*" : "::"};
        if (family == "6only" && gnu) return {"::"};
        if (family == "46" && gnu) return {"0.0.0.0"};
        if (family == "46" && (dialect_ == Dialect::freebsd || dialect_ == Dialect::openbsd)) return {"*"};
        return {};
    }

    /// The address family for a protocol: "4", "6" or, for both, "".
    const char* family_of_hosts(std::string_view family) const {
        if (family.empty()) return dialect_ == Dialect::openbsd ? "" : "4";
        if (dialect_ == Dialect::gnu && family == "6") return "";
        const bool mapped = family == "46" && dialect_ != Dialect::gnu;
        return family.starts_with('6') || mapped ? "6" : "4";
    }

    bool set_listen() {
        if (is_path()) {
            set_path();
            return true;
        }
        const std::string protocol = entry_.protocol.substr(0, 3), family = entry_.protocol.substr(protocol.size());
        const std::vector<std::string> all = wildcards(family);
        if ((protocol != "tcp" && protocol != "udp") || all.empty() || (protocol == "tcp") != stream()) {
            skip(fmt::format("has protocol \"{}\" on a {} socket, which superd does not serve", entry_.protocol,
                             entry_.type));
            return false;
        }
        std::vector<std::string> listen, unknown;
        for (const std::string& host : entry_.hosts) {
            const auto found = host == "*" ? all : listen_addresses(machine_, host, family_of_hosts(family));
            if (found.empty()) unknown.push_back(host);
            for (const std::string& address : found) {
                std::string uri = inet_uri(protocol, address, entry_.service);
                if (std::ranges::find(listen, uri) == listen.end()) listen.push_back(std::move(uri));
            }
        }
        if (listen.empty()) {
            skip(fmt::format("listens on \"{}\", which {} no address for {} now", fmt::join(entry_.hosts, ","),
                             entry_.hosts.size() > 1 ? "have" : "has", entry_.protocol));
            return false;
        }
        if (!unknown.empty())
            note(Fate::lost, fmt::format("{}: no address for {} now", fmt::join(unknown, ", "), entry_.protocol));
        out_.set("listen", listen, entry_.at);
        listen_ = std::move(listen);
        return true;
    }

    void set_path() {
        out_.set("listen", std::vector<std::string>{(stream() ? "unix://" : "unix-dgram://") + entry_.service},
                 entry_.at);
        std::string mode = entry_.socket_mode;
        // The modes with which each inetd makes such a socket.
        if (mode.empty()) mode = dialect_ == Dialect::freebsd ? "0200" : dialect_ == Dialect::netbsd ? "0755" : "0666";
        out_.set("socket.mode", mode.starts_with('0') ? mode : "0" + mode, entry_.at);
        if (!entry_.socket_user.empty()) out_.set("socket.user", entry_.socket_user, entry_.at);
        if (!entry_.socket_group.empty()) out_.set("socket.group", entry_.socket_group, entry_.at);
    }

    void set_limits() {
        const auto rate = [](int number) { return fmt::format("{}/m", number); };
        if (entry_.per_minute.value_or(0) > 0) out_.set("limits.rate", rate(*entry_.per_minute), entry_.at);
        if (entry_.per_source_minute.value_or(0) > 0)
            out_.set("limits.per_source_rate", rate(*entry_.per_source_minute), entry_.at);
        if (entry_.per_source.value_or(0) > 0) out_.set("limits.per_source", *entry_.per_source, entry_.at);
        if (entry_.instances.value_or(0) == 0) return;
        if (!entry_.wait) {
            out_.set("limits.instances", *entry_.instances, entry_.at);
        } else if (*entry_.instances > 1) {  // the model already allows only one at a time
            note(Fate::lost, fmt::format("at most {}: under wait only one runs at a time", *entry_.instances));
        }
    }

    /// 16384, 64k, 1m.
    void set_buffer(const char* key, std::string size) {
        if (size.empty()) return;
        if (size.back() == 'k' || size.back() == 'm') size.back() = static_cast<char>(size.back() - 'a' + 'A');
        const auto bytes = parse_size(size);
        if (!bytes) return note(Fate::lost, fmt::format("\"{}\" is not a buffer size", size));
        out_.set(key, format_size((*bytes + 1023) / 1024 * 1024), entry_.at);  // superd wants a unit
    }

    void set_handler() {
        out_.set("user", entry_.user, entry_.at);
        // Measured: these two leave root in its own group.
        const bool own = entry_.user == "root" && (dialect_ == Dialect::openbsd || dialect_ == Dialect::gnu);
        if (!entry_.group.empty() && own)
            note(Fate::changed, fmt::format("group {}: inetd leaves root in its own group", entry_.group));
        if (!entry_.group.empty() && !own) out_.set("group", entry_.group, entry_.at);
        const std::string daemon = ctl::set_handler(import_, out_, entry_.program, entry_.argv, entry_.at);
        out_.set("stderr", "socket", entry_.at);
        if (!daemon.empty()) set_access(import_, out_, wrapper_lists(machine_, daemon));
        take_stunnels_place(import_, out_, entry_.program, entry_.argv, machine_, entry_.at);
    }

    const Entry& entry_;
    const Dialect dialect_;
    const Machine& machine_;
    Import& import_;
    Imported out_;
    std::vector<std::string> listen_;
};

}  // namespace

void map_service(const Entry& entry, Dialect dialect, const Machine& machine, Import& import) {
    Mapper(entry, dialect, machine, import).run();
}

}  // namespace superd::ctl::inetd
