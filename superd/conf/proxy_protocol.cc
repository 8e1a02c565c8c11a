// SPDX-License-Identifier: MIT
// [proxy_protocol] for these sockets and this model.
#include "conf/proxy_protocol.h"

#include <fmt/format.h>

#include <algorithm>

#include "conf/validate.h"

namespace superd::conf {
namespace {

bool listens_by(const Service& service, Transport transport) {
    return std::ranges::any_of(service.listen, [&](const Listen& one) { return one.transport == transport; });
}

/// Why superd cannot read a header here; empty: it can.
std::string cannot_read(const Service& service) {
    const SocketType type = service.socket_type().value_or(SocketType::stream);
    if (type != SocketType::stream)
        return fmt::format("does not apply to {} sockets: the header comes at the head of a stream", name_of(type));
    if (service.handoff == Handoff::listen)
        return "cannot be taken off: under handoff \"listen\" the handler accepts clients itself, and would read the "
               "header";
    if (listens_by(service, Transport::vsock))
        return "does not apply to vsock: proxy_protocol.from cannot name its peers, so anybody might name any client";
    return "";
}

void resolve_from(Draft& draft, const Context& context, const toml::Spot& section, Diagnostics& errors) {
    Service& service = draft.service;
    std::vector<sys::Prefix>& from = service.proxy_protocol->from;
    const bool tcp = listens_by(service, Transport::tcp);
    if (!tcp && !listens_by(service, Transport::inherited)) {
        reject_own(draft, context, {"proxy_protocol.from"},
                   "does not apply: who may connect to a unix socket is decided by its mode, user and group", errors);
        from.clear();
        return;
    }
    const toml::Value* const given = draft.get("proxy_protocol.from");
    if (tcp && from.empty() && !draft.is_broken("proxy_protocol.from"))
        draft.reject("proxy_protocol.from", given != nullptr ? given->spot : section,
                     "[proxy_protocol] needs from, the addresses of the proxies: whoever may send a header can pass "
                     "for any client",
                     errors);
    const auto everybody = std::ranges::find(from, 0, &sys::Prefix::length);
    if (given != nullptr && everybody != from.end())
        draft.warnings.push_back(
            {given->spot.place(),
             fmt::format("proxy_protocol.from {}: everybody may pass for any client", everybody->text()), true});
}

}  // namespace

void resolve_proxy_protocol(Draft& draft, const Context& context, Diagnostics& errors) {
    const auto section = draft.sections.find("proxy_protocol");
    if (section == draft.sections.end()) return;
    Service& service = draft.service;
    const bool settled = !service.listen.empty() && !draft.is_broken("listen") && !draft.is_broken("model") &&
                         !draft.is_broken("handoff") && draft.get("model") != nullptr;
    if (const std::string why = settled ? cannot_read(service) : ""; !why.empty()) {
        // A default need not suit every service.
        if (section->second.source != context.defaults)
            errors.push_back({section->second.place(), fmt::format("[proxy_protocol] {}", why)});
        *service.proxy_protocol = ProxyProtocol();
        return;
    }
    service.proxy_protocol->on = true;
    if (settled) resolve_from(draft, context, section->second, errors);
    if (service.access->on_deny != Denial::drop) return;
    reject_own(draft, context, {"access.on_deny"},
               "\"drop\" does not go with [proxy_protocol]: the kernel would drop by the proxy's address, and sees no "
               "other",
               errors);
    service.access->on_deny = Denial::close;
}

std::optional<std::string> cannot_take_header(const Service& service, SocketType type, int family) {
    if (!service.proxy_protocol->on) return std::nullopt;
    if (type != SocketType::stream) return fmt::format("[proxy_protocol] does not apply to {} sockets", name_of(type));
    if (family == AF_UNIX) return std::nullopt;
    if (family != AF_INET && family != AF_INET6) return "[proxy_protocol] applies to TCP and unix sockets alone";
    if (service.proxy_protocol->from.empty()) return "[proxy_protocol] needs from, the addresses of the proxies";
    return std::nullopt;
}

}  // namespace superd::conf
