// SPDX-License-Identifier: MIT
#include "conf/service.h"

#include <fmt/format.h>
#include <linux/vm_sockets.h>

namespace superd::conf {

std::string Listen::uri() const {
    const auto inet = [&](const char* scheme) {
        const bool ipv6 = host.find(':') != std::string::npos;
        return fmt::format("{}://{}{}{}:{}", scheme, ipv6 ? "[" : "", host, ipv6 ? "]" : "", port);
    };
    switch (transport) {
        case Transport::tcp:
            return inet("tcp");
        case Transport::udp:
            return inet("udp");
        case Transport::unix_stream:
            return "unix://" + path;
        case Transport::unix_datagram:
            return "unix-dgram://" + path;
        case Transport::unix_seqpacket:
            return "unix-seqpacket://" + path;
        case Transport::vsock:
            return cid == VMADDR_CID_ANY ? fmt::format("vsock://*:{}", port) : fmt::format("vsock://{}:{}", cid, port);
        case Transport::inherited:
            return "systemd:" + name;
    }
    return "";
}

std::optional<SocketType> Listen::socket_type() const {
    switch (transport) {
        case Transport::tcp:
        case Transport::unix_stream:
        case Transport::vsock:
            return SocketType::stream;
        case Transport::udp:
        case Transport::unix_datagram:
            return SocketType::datagram;
        case Transport::unix_seqpacket:
            return SocketType::seqpacket;
        case Transport::inherited:
            break;
    }
    return std::nullopt;
}

void Service::settle() {
    socket.settle();
    limits.settle();
    access.settle();
    prefork.settle();
    penalty.settle();
    proxy_protocol.settle();
    tls.settle();
    datagram.settle();
    sandbox.settle();
    resources.settle();
}

std::optional<SocketType> Service::socket_type() const {
    for (const Listen& one : listen) {
        if (const auto type = one.socket_type()) return type;
    }
    return std::nullopt;
}

Handoff handoff_for(Model model, Handoff handoff, SocketType type) {
    return type == SocketType::datagram && model != Model::fork ? Handoff::listen : handoff;
}

std::optional<std::string> cannot_serve(Model model, Handoff handoff, SocketType type) {
    const bool datagram = type == SocketType::datagram;
    if (model == Model::delayed && datagram) {
        return "model \"delayed\" cannot serve datagram sockets: use fork, iterative or prefork";
    }
    if (model == Model::fork && handoff == Handoff::listen) {
        return fmt::format("model \"fork\" cannot hand over the listening socket: it starts a handler for each {}",
                           datagram ? "datagram" : "connection");
    }
    if (datagram && model != Model::fork && handoff == Handoff::connection) {
        return fmt::format(
            "handoff \"connection\" cannot serve datagram sockets under model \"{}\": "
            "there the handler gets the socket itself",
            name_of(model));
    }
    return std::nullopt;
}

}  // namespace superd::conf
