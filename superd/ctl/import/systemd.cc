// SPDX-License-Identifier: MIT
// A systemd socket with the service it starts: which superd services they become, where these listen, what they run.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {

namespace {

using unit::Assignment;
using unit::Unit;

bool is_true(const Assignment* assignment) {
    return assignment != nullptr && unit::boolean(assignment->value).value_or(false);
}

class UnitMapper {
  public:
    UnitMapper(const Units& units, const std::string& name, Import& import)
        : units_(units), import_(import), stem_(name.substr(0, name.rfind('.'))), socket_(units, name, import.notes) {
        at_ = {units.files.at(name).path, 0};
    }

    void run() {
        if (stem_.ends_with('@'))
            return skip(
                "is a template: superd has none, and its instances are not known here; name "
                "their links in sockets.target.wants instead");
        accept_ = is_true(socket_.last("Socket", "Accept"));
        find_listeners();
        if (groups_.empty()) return;
        const Assignment* named = socket_.last("Socket", "Service");
        std::string service = stem_ + (accept_ ? "@.service" : ".service");
        if (accept_ && stem_.find('@') != std::string::npos) service = unit::template_of(stem_ + ".service");
        if (named != nullptr) service = unit::Specifiers(stem_ + ".socket").expand(named->value).value_or(named->value);
        if (units_.find(service).empty())
            return skip(fmt::format("starts {}, which is not among the given files", service));
        const Unit handler(units_, service, import_.notes);
        const unit::Specifiers specifiers(service);
        for (const Group& group : groups_) {
            Imported out;
            out.at = at_;
            out.name = free_name(import_.services, service_name(stem_), group.suffix);
            out.set("listen", group.uris, group.at);
            set_model(out, group);
            if (groups_.size() > 1) {
                import_.note(
                    group.at, out.name, Fate::changed,
                    fmt::format("one of {} sockets of {}.socket: superd starts a process for each, and each finds "
                                "one socket",
                                groups_.size(), stem_));
            }
            if (!map_handler({handler, specifiers, group.stream && accept_}, out, import_)) return;
            map_socket(socket_, group.stream && accept_, out, import_);
            map_access(units_, {socket_, stem_ + ".socket", "Socket"}, {handler, service, "Service"}, out, import_);
            map_unit(socket_, handler, out, import_);
            import_.services.push_back(std::move(out));
        }
    }

  private:
    /// The sockets of one superd service.
    struct Group {
        std::vector<std::string> uris;
        bool stream = true;
        std::string suffix;
        Origin at;
    };

    void skip(std::string why) {
        import_.note(at_, "", Fate::skipped, fmt::format("{}.socket {}; left out", stem_, why));
    }

    void find_listeners() {
        const Assignment* only = socket_.last("Socket", "BindIPv6Only");
        const bool ipv6_only = only != nullptr && only->value == "ipv6-only";
        const Assignment* protocol = socket_.last("Socket", "SocketProtocol");
        if (protocol != nullptr && protocol->value != "tcp" && protocol->value != "udp" && protocol->value != "mptcp")
            return skip(fmt::format("has SocketProtocol={}, which superd does not serve", protocol->value));
        const unit::Specifiers specifiers(stem_ + ".socket");
        bool any = false;
        for (const Assignment& one : socket_.assignments()) {
            if (one.section != "Socket" || !one.key.starts_with("Listen")) continue;
            if (one.value.empty()) {
                std::erase_if(groups_, [&](const Group& group) { return accepts(group, one.key); });
                continue;
            }
            any = true;
            const auto value = specifiers.expand(one.value);
            const bool known =
                one.key == "ListenStream" || one.key == "ListenDatagram" || one.key == "ListenSequentialPacket";
            Result<std::string> uri = fail("superd does not support such sockets");
            if (known && value) uri = unit::listen_uri(one.key, *value, ipv6_only);
            if (!value) uri = fail("has a specifier that superd cannot give a value");
            if (!uri) {
                import_.note(one.at, "", Fate::lost, fmt::format("{}={}: {}", one.key, one.value, uri.error().text));
                continue;
            }
            add(one, *uri);
        }
        if (groups_.empty())
            skip(any ? "has no socket left that superd could serve" : "has no Listen… setting, or is masked");
    }

    static bool accepts(const Group& group, std::string_view key) { return group.stream == (key != "ListenDatagram"); }

    /// Accepted connections are all alike, but a handler gets each listening socket separately.
    void add(const Assignment& one, const std::string& uri) {
        const bool stream = one.key != "ListenDatagram";
        const auto same = std::ranges::find_if(groups_, [&](const Group& group) {
            return stream && accept_ && group.stream &&
                   group.uris[0].starts_with("unix-seqpacket") == uri.starts_with("unix-seqpacket");
        });
        if (same != groups_.end()) {
            same->uris.push_back(uri);
        } else {
            const std::string scheme = uri.substr(0, uri.find(':'));
            groups_.push_back({{uri}, stream, scheme, one.at});
        }
    }

    void set_model(Imported& out, const Group& group) {
        if (group.stream && accept_) return out.set("model", "fork", group.at);
        // As under systemd: the first client starts it, it has the socket until it exits, and then superd watches
        // again.
        out.set("model", "iterative", group.at);
        if (group.stream) out.set("handoff", "listen", group.at);
    }

    const Units& units_;
    Import& import_;
    const std::string stem_;
    const Unit socket_;
    Origin at_;
    bool accept_ = false;
    std::vector<Group> groups_;
};

}  // namespace

void map_unit(const Unit& socket, const Unit& service, Imported& out, Import& import) {
    const Assignment* description = socket.last("Unit", "Description");
    if (description == nullptr) description = service.last("Unit", "Description");
    if (description != nullptr) out.set("description", std::string_view(description->value), description->at);
    for (const Unit* unit : {&socket, &service}) {
        for (const Assignment& one : unit->assignments()) {
            if (one.section.starts_with("X-") || one.key.starts_with("X-") || one.value.empty()) continue;
            if (one.section == "Unit") {
                if (one.key == "Description") continue;
                if (one.key == "Documentation") {
                    const std::string line = fmt::format("Documentation: {}", one.value);
                    if (out.comment.find(line) == std::string::npos) out.comment += line + "\n";
                    continue;
                }
                const bool condition = one.key.starts_with("Condition") || one.key.starts_with("Assert");
                import.note(one.at, out.name, Fate::lost,
                            fmt::format("{}={}: superd has no {}", one.key, one.value,
                                        condition ? "conditions" : "dependencies between services"));
            } else if (one.section == "Install") {
                const std::string why = "[Install]: superd runs every definition in its folder";
                const bool said = std::ranges::any_of(import.notes, [&](const Note& note) { return note.text == why; });
                if (!said) import.note(one.at, "", Fate::changed, why);
            } else if (one.section != "Socket" && one.section != "Service") {
                import.note(one.at, out.name, Fate::lost,
                            fmt::format("[{}] {}: superd does not know this section", one.section, one.key));
            }
        }
    }
}

}  // namespace superd::ctl::systemd

namespace superd::ctl {

Import import_systemd(const Units& units) {
    Import import;
    for (const auto& [name, file] : units.files) {
        if (name.ends_with(".socket")) systemd::UnitMapper(units, name, import).run();
    }
    return import;
}

}  // namespace superd::ctl
