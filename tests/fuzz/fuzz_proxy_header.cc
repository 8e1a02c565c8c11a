// SPDX-License-Identifier: MIT
// Anything that a peer may send as the header of a proxy, as it arrives byte by byte. Whatever is said of a beginning
// holds when more comes: a header is known exactly when it is whole, what is none stays none, and until then every byte
// belongs to the header.
#include <cstdlib>
#include <string_view>

#include "base/text.h"
#include "fuzz.h"
#include "net/proxy_header.h"

namespace {

using namespace superd;
using namespace superd::net::proxy;

void check(const Header& header) {
    if (header.size == 0 || header.size > kLongest) abort();
    if (header.names != (header.client.family() != AF_UNSPEC)) abort();
    if (header.client.family() != header.local.family()) abort();
    for (const sys::Address* address : {&header.client, &header.local}) {
        const std::string host = address->host();
        if (host.find('\0') != host.npos || (address->family() == AF_UNIX && escape(host) != host)) abort();
        (void)address->text();
    }
    for (const auto& [name, value] : header.variables)
        if (value.empty() || value.size() > kLongestValue || value.find('\0') != value.npos || escape(value) != value)
            abort();
}

}  // namespace

FUZZ(proxy_header)(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto versions = static_cast<conf::ProxyVersions>(data[0] % 3);
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto all = read(bytes, versions);
    const auto* const header = std::get_if<Header>(&all);
    if (header != nullptr) check(*header);
    const auto* const wrong = std::get_if<Malformed>(&all);
    if (wrong != nullptr && (wrong->why.empty() || escape(wrong->why) != wrong->why)) abort();
    if (std::holds_alternative<Partial>(all) && bytes.size() >= kLongest) abort();

    bool was_none = false;
    constexpr std::size_t kEach = 512;  // then only some: it is quadratic
    for (std::size_t length = 0; length < bytes.size(); length += length < kEach ? 1 : 97) {
        const auto part = read(bytes.substr(0, length), versions);
        const bool none = std::holds_alternative<Malformed>(part);
        if (was_none && !none) abort();
        was_none = none;
        if (none && wrong == nullptr) abort();
        const auto* const known = std::get_if<Header>(&part);
        if (known != nullptr && (header == nullptr || known->size != header->size || length < known->size)) abort();
        if (header != nullptr && length >= header->size && known == nullptr) abort();
    }
    return 0;
}
