// SPDX-License-Identifier: MIT
#include "proxy/header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <cstring>
#include <string_view>

#include "proxy/target.h"

namespace proxy {
namespace {

struct Bytes {
    std::string address, port, text;
};

Bytes bytes_of(const Address& from) {
    Bytes out;
    char text[INET6_ADDRSTRLEN] = "";
    const auto take = [&](const void* address, std::size_t size, in_port_t port) {
        out.address.assign(static_cast<const char*>(address), size);
        out.port.assign(reinterpret_cast<const char*>(&port), sizeof port);
        inet_ntop(from.family(), address, text, sizeof text);
        out.text = text;
    };
    if (from.family() == AF_INET) {
        sockaddr_in four;
        std::memcpy(&four, &from.storage, sizeof four);
        take(&four.sin_addr, sizeof four.sin_addr, four.sin_port);
    } else {
        sockaddr_in6 six;
        std::memcpy(&six, &from.storage, sizeof six);
        take(&six.sin6_addr, sizeof six.sin6_addr, six.sin6_port);
    }
    return out;
}

std::string decimal(const std::string& port) {
    in_port_t number;
    std::memcpy(&number, port.data(), sizeof number);
    return std::to_string(ntohs(number));
}

bool is_inet(const Address& address) {
    return address.family() == AF_INET || address.family() == AF_INET6;
}

}  // namespace

std::string header(HeaderVersion version, const Address& client, const Address& local) {
    if (version == HeaderVersion::none) return "";
    const Address from = unmapped(client), to = unmapped(local);
    const bool known = is_inet(from) && from.family() == to.family();
    const bool six = from.family() == AF_INET6;
    if (version == HeaderVersion::v1) {
        if (!known) return "PROXY UNKNOWN\r\n";
        const Bytes source = bytes_of(from), destination = bytes_of(to);
        return std::string("PROXY TCP") + (six ? "6 " : "4 ") + source.text + " " + destination.text + " " +
               decimal(source.port) + " " + decimal(destination.port) + "\r\n";
    }
    std::string out("\r\n\r\n\0\r\nQUIT\n\x21", 13);
    if (!known) return out + std::string("\0\0\0", 3);  // AF_UNSPEC, no addresses
    const Bytes source = bytes_of(from), destination = bytes_of(to);
    const std::string block = source.address + destination.address + source.port + destination.port;
    out += six ? '\x21' : '\x11';
    out += '\0';
    out += static_cast<char>(block.size());
    return out + block;
}

Ends ends_of(int fd, const Address& client, bool by_environment) {
    Ends ends{client, {}};
    ends.local.size = sizeof(sockaddr_storage);
    if (getsockname(fd, ends.local.get(), &ends.local.size) != 0) ends.local = {};
    const char* const kind = getenv("PROTO");
    if (!by_environment || kind == nullptr || std::string_view(kind) != "TCP") return ends;
    const auto told = [](const char* address, const char* port) -> Address {
        const char* const host = getenv(address);
        const char* const number = getenv(port);
        if (host == nullptr || number == nullptr) return {};
        const bool six = strchr(host, ':') != nullptr;
        const auto target = parse_target(std::string("tcp://") + (six ? "[" : "") + host + (six ? "]:" : ":") + number);
        return target && target->fixed ? *target->fixed : Address{};
    };
    const Address remote = told("TCPREMOTEIP", "TCPREMOTEPORT"), local = told("TCPLOCALIP", "TCPLOCALPORT");
    if (remote.size > 0 && local.size > 0) ends = {remote, local};
    return ends;
}

}  // namespace proxy
