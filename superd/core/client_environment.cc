// SPDX-License-Identifier: MIT
#include "core/client_environment.h"

#include <sys/socket.h>

#include <algorithm>
#include <string>

namespace superd::core {
namespace {

void set_remote(proc::Environment& to, const std::string& host, const std::string& port) {
    to.set("REMOTE_ADDR", host);
    to.set("REMOTE_PORT", port);
    to.set("REMOTE_HOST", host);
}

void set_unix(proc::Environment& to, const model::Client& client) {
    to.set("PROTO", "UNIX");
    to.set("UNIXLOCALPATH", client.local.host());
    const auto peer = model::credentials_of(client);
    if (!peer) return;
    to.set("UNIXREMOTEEUID", std::to_string(peer->uid));
    to.set("UNIXREMOTEEGID", std::to_string(peer->gid));
    to.set("UNIXREMOTEPID", std::to_string(peer->pid));
}

void set_inet(proc::Environment& to, const model::Client& client) {
    const std::string proto = client.kind == model::Client::Kind::connection ? "TCP" : "UDP";
    const std::string host = client.peer.host();
    const std::string port = std::to_string(client.peer.port());
    to.set("PROTO", proto);
    to.set(proto + "LOCALIP", client.local.host());
    to.set(proto + "LOCALPORT", std::to_string(client.local.port()));
    to.set(proto + "REMOTEIP", host);
    to.set(proto + "REMOTEPORT", port);
    set_remote(to, host, port);
}

}  // namespace

proc::Environment listener_environment(const std::vector<const net::Listener*>& listeners) {
    proc::Environment environment;
    if (listeners.empty()) return environment;
    const sys::Address& where = listeners.front()->address();
    const bool single = listeners.size() == 1;
    const auto is_unix = [](const net::Listener* one) { return one->address().family() == AF_UNIX; };
    if (std::ranges::any_of(listeners, is_unix) && !std::ranges::all_of(listeners, is_unix)) return environment;
    if (where.family() == AF_UNIX) {
        environment.set("PROTO", "UNIX");
        if (single) environment.set("UNIXLOCALPATH", where.host());
    } else if (where.family() == AF_INET || where.family() == AF_INET6) {
        environment.set("PROTO", "TCP");
        if (single && !where.is_wildcard()) environment.set("TCPLOCALIP", where.host());
        if (single) environment.set("TCPLOCALPORT", std::to_string(where.port()));
    }
    return environment;
}

proc::Environment client_environment(const model::Client& client) {
    proc::Environment environment = client.variables;
    switch (client.local.family()) {
        case AF_INET:
        case AF_INET6:
            set_inet(environment, client);
            break;
        case AF_UNIX:
            set_unix(environment, client);
            break;
        case AF_VSOCK:
            set_remote(environment, client.peer.host(), std::to_string(client.peer.port()));
            break;
        default:
            break;
    }
    return environment;
}

}  // namespace superd::core
