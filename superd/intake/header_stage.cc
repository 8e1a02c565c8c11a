// SPDX-License-Identifier: MIT
#include "intake/header_stage.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "net/proxy_header.h"

namespace superd::intake {
namespace {

using admit::Refusal;

Progress wrong(Refusal why, std::string more = {}) {
    return {Progress::Kind::failed, why, std::move(more)};
}

Progress ended(const Entrant& entrant) {
    if (entrant.memory.empty()) return wrong(Refusal::gone);
    return wrong(Refusal::header, fmt::format(": it ends after {} bytes", entrant.memory.size()));
}

/// What a header changes in its client.
struct Named {
    sys::Address peer, local;
    proc::Environment variables;
    model::Introduction introduction;
};

/// The client is the one that was named, or the proxy itself.
Named named_by(const model::Client& client, net::proxy::Header header) {
    Named named{client.peer, client.local, client.variables, {}};
    if (header.names) {
        named.peer = std::move(header.client);
        named.local = std::move(header.local);
        for (const auto& [name, value] : header.variables) named.variables.set(name, value);
    } else {
        named.introduction.credentials = model::credentials_of(client);
        named.introduction.is_proxy = true;
    }
    return named;
}

void introduce(model::Client& client, Named named) noexcept {
    client.peer = std::move(named.peer);
    client.local = std::move(named.local);
    client.variables = std::move(named.variables);
    client.introduction = named.introduction;
}

}  // namespace

bool HeaderStage::trusts(const conf::ProxyProtocol& rules, const sys::Address& peer, bool on_unix) {
    const auto ip = sys::ip_bytes(peer);
    return on_unix ||
           (ip && std::ranges::any_of(rules.from, [&](const sys::Prefix& prefix) { return prefix.contains(*ip); }));
}

/// One look at what is there, and one read of what of it belongs to the header. A part of a header is read as well:
/// left there, it would make the connection readable again and again.
Progress HeaderStage::go_on(Entrant& entrant) {
    std::string& before = entrant.memory;
    const int fd = entrant.client.connection.get();
    char buffer[net::proxy::kLongest];
    const ssize_t seen = sys::receive_without_rights(fd, buffer, sizeof buffer - before.size(), MSG_PEEK);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return {Progress::Kind::readable};
    if (seen < 0 && errno == EPERM) return wrong(Refusal::header, ": it comes with descriptors");
    if (seen < 0) return wrong(Refusal::gone);
    if (seen == 0) return ended(entrant);

    const std::string bytes = before + std::string(buffer, static_cast<std::size_t>(seen));
    // Its first byte shows the version, which was one that was taken then.
    auto said = net::proxy::read(bytes, rules_.on && before.empty() ? rules_.accept : conf::ProxyVersions::any);
    if (const auto* none = std::get_if<net::proxy::Malformed>(&said)) return wrong(Refusal::header, ": " + none->why);
    auto* const header = std::get_if<net::proxy::Header>(&said);
    const std::size_t wanted = (header != nullptr ? header->size : bytes.size()) - before.size();
    // What needs memory comes first: once the bytes are taken, nobody else has them.
    std::optional<Named> named;
    if (header != nullptr) named = named_by(entrant.client, std::move(*header));
    before.reserve(before.size() + wanted);
    const ssize_t taken = sys::receive_without_rights(fd, buffer, wanted);
    if (taken > 0) before.append(buffer, static_cast<std::size_t>(taken));
    if (!named || taken != static_cast<ssize_t>(wanted)) return {Progress::Kind::readable};
    introduce(entrant.client, std::move(*named));
    before.clear();
    return {Progress::Kind::passed};
}

}  // namespace superd::intake
