// SPDX-License-Identifier: MIT
// The settings of [Socket].
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "base/text.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using unit::Assignment;

enum class Kind { flag, number, seconds, size, word, octal };

struct Carried {
    std::string_view key;  ///< of systemd
    Kind kind;
    const char* to;  ///< of superd
};
constexpr std::array<Carried, 20> carried{{
    {"KeepAlive", Kind::flag, "socket.keepalive"},
    {"KeepAliveTimeSec", Kind::seconds, "socket.keepalive_time"},
    {"KeepAliveIntervalSec", Kind::seconds, "socket.keepalive_interval"},
    {"KeepAliveProbes", Kind::number, "socket.keepalive_probes"},
    {"NoDelay", Kind::flag, "socket.nodelay"},
    {"DeferAcceptSec", Kind::seconds, "socket.defer_accept"},
    {"ReusePort", Kind::flag, "socket.reuse_port"},
    {"FreeBind", Kind::flag, "socket.freebind"},
    {"BindToDevice", Kind::word, "socket.bind_to_device"},
    {"ReceiveBuffer", Kind::size, "socket.receive_buffer"},
    {"SendBuffer", Kind::size, "socket.send_buffer"},
    {"Priority", Kind::number, "socket.priority"},
    {"Mark", Kind::number, "socket.mark"},
    {"SocketMode", Kind::octal, "socket.mode"},
    {"SocketUser", Kind::word, "socket.user"},
    {"SocketGroup", Kind::word, "socket.group"},
    {"MaxConnections", Kind::number, "limits.instances"},
    {"MaxConnectionsPerSource", Kind::number, "limits.per_source"},
    {"Backlog", Kind::number, "socket.backlog"},
    {"IPTOS", Kind::number, "socket.tos"},
}};

/// Read elsewhere, or of no meaning to superd in any value.
bool is_settled(std::string_view key) {
    constexpr std::array<std::string_view, 8> settled{"Accept",         "Service",      "BindIPv6Only",
                                                      "SocketProtocol", "RemoveOnStop", "IPAddressAllow",
                                                      "IPAddressDeny",  "Slice"};
    return key.starts_with("Listen") || std::ranges::find(settled, key) != settled.end();
}

std::string_view why_lost(std::string_view key) {
    if (key.starts_with("TriggerLimit") || key.starts_with("PollLimit"))
        return "superd pauses a service by itself and never gives one up; see limits.rate";
    if (key == "Symlinks") return "superd makes no links; make them once, or list the paths in listen";
    if (key == "FlushPending") return "superd keeps the clients that wait";
    if (key.starts_with("Exec")) return "superd runs nothing but handlers";
    if (key.starts_with("SELinux") || key.starts_with("Smack")) return "superd sets no security labels";
    return "superd has nothing like it";
}

class Mapper {
  public:
    Mapper(bool accepted, Imported& out, Import& import) : accepted_(accepted), out_(out), import_(import) {}

    void set(const Assignment& one) {
        if (one.key == "FileDescriptorName") return file_descriptor_name(one);
        const auto found = std::ranges::find(carried, one.key, &Carried::key);
        if (found == carried.end()) {
            if (!is_settled(one.key)) lost(one, why_lost(one.key));
            return;
        }
        if (one.key.starts_with("MaxConnections") && !accepted_)
            return lost(one, "without Accept=yes it means nothing");
        if (!carry(one, *found)) lost(one, "is not a value that superd could take");
    }

  private:
    void lost(const Assignment& one, std::string_view why) {
        import_.note(one.at, out_.name, Fate::lost, fmt::format("{}={}: {}", one.key, one.value, why));
    }

    void file_descriptor_name(const Assignment& one) {
        if (accepted_ || one.value == out_.name) return;
        lost(one, "in LISTEN_FDNAMES superd writes the service's name");
    }

    bool carry(const Assignment& one, const Carried& how) {
        switch (how.kind) {
            case Kind::flag: {
                const auto flag = unit::boolean(one.value);
                if (flag && *flag) out_.set(how.to, true, one.at);
                return flag.has_value();
            }
            case Kind::number:
                return number(one, how.to);
            case Kind::seconds: {
                const auto span = unit::time_span(one.value);
                if (span) out_.set(how.to, std::string_view(format_duration(*span)), one.at);
                return span.has_value();
            }
            case Kind::size: {
                const auto bytes = parse_size(one.value);
                // superd wants a unit.
                if (bytes) out_.set(how.to, std::string_view(format_size((*bytes + 1023) / 1024 * 1024)), one.at);
                return bytes.has_value();
            }
            case Kind::octal:
            case Kind::word:
                out_.set(how.to, std::string_view(one.value), one.at);
                return true;
        }
        return false;
    }

    bool number(const Assignment& one, const char* to) {
        static const std::map<std::string_view, std::int64_t> tos{
            {"low-delay", 16}, {"throughput", 8}, {"reliability", 4}, {"low-cost", 2}};
        std::int64_t value = 0;
        if (const auto found = tos.find(one.value); found != tos.end() && one.key == "IPTOS") {
            value = found->second;
        } else {
            const char* end = one.value.data() + one.value.size();
            const auto [at, status] = std::from_chars(one.value.data(), end, value);
            if (status != std::errc{} || at != end) return false;
        }
        constexpr std::int64_t longest_backlog = 65535;
        if (one.key == "Backlog" && value > longest_backlog) value = longest_backlog;  // net.core.somaxconn is less
        if (one.key == "MaxConnectionsPerSource" && value == 0) return true;           // no limit
        out_.set(to, value, one.at);
        return true;
    }

    const bool accepted_;
    Imported& out_;
    Import& import_;
};

}  // namespace

void map_socket(const unit::Unit& socket, bool accepted, Imported& out, Import& import) {
    Mapper mapper(accepted, out, import);
    std::set<std::string, std::less<>> done;
    for (const Assignment& one : socket.assignments()) {
        if (one.section != "Socket" || !done.insert(one.key).second) continue;
        if (const Assignment* last = socket.last("Socket", one.key)) mapper.set(*last);
    }
}

}  // namespace superd::ctl::systemd
