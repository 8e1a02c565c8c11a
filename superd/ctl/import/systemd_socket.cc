// SPDX-License-Identifier: MIT
// The settings of [Socket].
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/text.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using unit::Assignment;

/// Read elsewhere, or irrelevant to superd whatever the value.
bool is_settled(std::string_view key) {
    constexpr std::array<std::string_view, 7> settled{"Accept",       "Service",        "BindIPv6Only", "RemoveOnStop",
                                                      "IPAddressAllow", "IPAddressDeny", "Slice"};
    return key.starts_with("Listen") || std::ranges::find(settled, key) != settled.end();
}

std::string_view why_lost(std::string_view key) {
    if (key.starts_with("TriggerLimit") || key.starts_with("PollLimit"))
        return "superd itself pauses a service and never gives up on it; see limits.rate";
    if (key == "Symlinks") return "superd does not make links; make them once, or list the paths in listen";
    if (key == "FlushPending") return "superd keeps waiting clients";
    if (key.starts_with("Exec")) return "superd runs only handlers";
    if (key.starts_with("SELinux") || key.starts_with("Smack")) return "superd does not set security labels";
    return "superd has nothing like it";
}

class SocketMapper {
  public:
    SocketMapper(bool accepted, Imported& out, Import& import) : accepted_(accepted), out_(out), import_(import) {}

    void set(const Assignment& one) {
        if (one.key == "FileDescriptorName") return file_descriptor_name(one);
        if (is_settled(one.key)) return;
        const conf::Key* key = conf::find_counterpart(conf::Elsewhere::socket_unit, one.key);
        if (key == nullptr) return lost(one, why_lost(one.key));
        if (one.key == "SocketProtocol") return protocol(one);
        if (one.key.starts_with("MaxConnections") && !accepted_)
            return lost(one, "without Accept=yes it means nothing");
        if (one.key == "MaxConnectionsPerSource" && one.value == "0") return;  // no limit
        if (!carry(as_superd_has_it(one), *key, out_)) lost(one, "is not a value that superd could take");
    }

  private:
    void lost(const Assignment& one, std::string_view why) {
        import_.note(one.at, out_.name, Fate::lost, fmt::format("{}={}: {}", one.key, one.value, why));
    }

    /// Others than those that listen names anyway are skipped before.
    void protocol(const Assignment& one) {
        if (one.value == "mptcp") out_.set("socket.mptcp", true, one.at);
    }

    void file_descriptor_name(const Assignment& one) {
        if (accepted_ || one.value == out_.name) return;
        lost(one, "superd puts the service's name into LISTEN_FDNAMES");
    }

    static Assignment as_superd_has_it(Assignment one) {
        static const std::map<std::string_view, const char*> tos{
            {"low-delay", "16"}, {"throughput", "8"}, {"reliability", "4"}, {"low-cost", "2"}};
        constexpr std::uint64_t longest_backlog = 65535;
        if (const auto found = tos.find(one.value); found != tos.end() && one.key == "IPTOS") {
            one.value = found->second;
        } else if (one.key == "Backlog" && all_digits(one.value)) {
            const auto number = parse_size(one.value);
            if (number && *number > longest_backlog) one.value = fmt::format("{}", longest_backlog);
        }
        return one;
    }

    const bool accepted_;
    Imported& out_;
    Import& import_;
};

}  // namespace

void map_socket(const unit::Unit& socket, bool accepted, Imported& out, Import& import) {
    SocketMapper mapper(accepted, out, import);
    std::set<std::string, std::less<>> done;
    for (const Assignment& one : socket.assignments()) {
        if (one.section != "Socket" || !done.insert(one.key).second) continue;
        if (const Assignment* last = socket.last("Socket", one.key)) mapper.set(*last);
    }
}

}  // namespace superd::ctl::systemd
