// SPDX-License-Identifier: MIT
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>

#include "base/text.h"

namespace superd::net::proxy {
namespace {

using namespace std::string_view_literals;
using Reading = std::variant<Partial, Header, Malformed>;

constexpr auto kText = "PROXY "sv;
constexpr std::size_t kLongestLine = 107;  // with CR LF
constexpr auto kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t kFixed = 16;
constexpr std::size_t kTlv = 3;  // type and length

Malformed malformed(std::string why) {
    return {std::move(why)};
}

std::size_t number16(std::string_view bytes) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[0]) << 8 | static_cast<unsigned char>(bytes[1]));
}

std::uint32_t number32(std::string_view bytes) {
    return static_cast<std::uint32_t>(number16(bytes) << 16 | number16(bytes.substr(2)));
}

template <int family>
sys::Address address(std::string_view ip, std::string_view port) {
    std::conditional_t<family == AF_INET, sockaddr_in, sockaddr_in6> made{};
    if constexpr (family == AF_INET) {
        made.sin_family = AF_INET;
        std::memcpy(&made.sin_addr, ip.data(), sizeof made.sin_addr);
        std::memcpy(&made.sin_port, port.data(), sizeof made.sin_port);
    } else {
        made.sin6_family = AF_INET6;
        std::memcpy(&made.sin6_addr, ip.data(), sizeof made.sin6_addr);
        std::memcpy(&made.sin6_port, port.data(), sizeof made.sin6_port);
    }
    return sys::Address(reinterpret_cast<const sockaddr*>(&made), sizeof made);
}

/// Version 1.

std::optional<std::string> port_bytes(std::string_view text) {
    std::uint16_t port = 0;
    if (text.size() > 1 && text[0] == '0') return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (!all_digits(text) || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return std::string{static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
}

template <int family>
std::optional<sys::Address> address_of_words(std::string_view ip, std::string_view port) {
    char bytes[sizeof(in6_addr)];
    const auto number = port_bytes(port);
    if (!number || inet_pton(family, std::string(ip).c_str(), bytes) != 1) return std::nullopt;
    return address<family>({bytes, sizeof bytes}, *number);
}

template <int family>
Reading read_words(const std::vector<std::string_view>& words, Header header) {
    if (words.size() != 6) return malformed("it has not two addresses and two ports");
    const auto client = address_of_words<family>(words[2], words[4]);
    const auto local = address_of_words<family>(words[3], words[5]);
    if (!client || !local) return malformed(fmt::format("an address or port is no {} one", words[1]));
    header.names = true;
    header.client = *client;
    header.local = *local;
    return header;
}

Reading read_line(std::string_view bytes) {
    const auto line = bytes.substr(0, kLongestLine);
    const auto end = std::ranges::find_if(line, [](char c) { return c < 0x20 || c > 0x7e; });
    const auto length = static_cast<std::size_t>(end - line.begin());
    if (length + 2 > kLongestLine) return malformed("it has more than 107 bytes");
    if (end == line.end()) return Partial{};
    if (*end != '\r') return malformed("it has a byte that is no text");
    if (length + 1 == line.size()) return Partial{};
    if (line[length + 1] != '\n') return malformed("CR is not followed by LF");
    Header header;
    header.size = length + 2;
    const auto words = split(line.substr(0, length), ' ');
    if (words[1] == "UNKNOWN") return header;
    if (words[1] == "TCP4") return read_words<AF_INET>(words, std::move(header));
    if (words[1] == "TCP6") return read_words<AF_INET6>(words, std::move(header));
    return malformed("it names neither TCP4, TCP6 nor UNKNOWN");
}

/// Version 2.

/// RFC 3720's, over the header with this field as zeros.
std::uint32_t crc32c(std::string_view header, std::size_t field) {
    std::uint32_t crc = ~0U;
    for (std::size_t i = 0; i < header.size(); ++i) {
        crc ^= i >= field && i < field + 4 ? 0 : static_cast<unsigned char>(header[i]);
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
    }
    return ~crc;
}

/// What goes into the environment must not be able to look like something else there.
bool is_plain(std::string_view value) {
    return value.find('\0') == value.npos && escape(value) == value;
}

void keep(Header& header, const char* name, std::string_view value) {
    if (value.empty() || value.size() > kLongestValue || !is_plain(value)) return;
    const auto same = [&](const auto& variable) { return variable.first == name; };
    if (std::ranges::none_of(header.variables, same)) header.variables.emplace_back(name, value);
}

/// Calls `act` with type, value and the value's place in `bytes`. False: a length leads beyond the end.
template <class Act>
bool each_tlv(std::string_view bytes, Act act) {
    for (std::size_t at = 0; at < bytes.size();) {
        if (bytes.size() - at < kTlv) return false;
        const std::size_t length = number16(bytes.substr(at + 1));
        if (bytes.size() - at - kTlv < length) return false;
        act(static_cast<unsigned char>(bytes[at]), bytes.substr(at + kTlv, length), at + kTlv);
        at += kTlv + length;
    }
    return true;
}

/// PP2_TYPE_SSL. False: it is cut off.
bool read_ssl(std::string_view value, Header& header) {
    constexpr unsigned kTls = 1, kCertificates = 2 | 4;  // PP2_CLIENT_SSL, CERT_CONN, CERT_SESS
    if (value.size() < 5) return false;
    const auto client = static_cast<unsigned char>(value[0]);
    // The name in a certificate that has not been verified is anybody's word.
    const bool verified = (client & kCertificates) != 0 && number32(value.substr(1)) == 0;
    return each_tlv(value.substr(5), [&](unsigned type, std::string_view inner, std::size_t) {
        if ((client & kTls) == 0) return;
        if (type == 0x21) keep(header, "PROXY_SSL_VERSION", inner);
        if (type == 0x22 && verified) keep(header, "PROXY_SSL_CN", inner);
        if (type == 0x23) keep(header, "PROXY_SSL_CIPHER", inner);
    });
}

/// What follows the addresses. "": well.
std::string read_tlvs(std::string_view whole, std::size_t from, Header& header) {
    std::string wrong;
    std::optional<std::pair<std::string_view, std::size_t>> checksum;
    const bool fits = each_tlv(whole.substr(from), [&](unsigned type, std::string_view value, std::size_t place) {
        if (type == 0x01) keep(header, "PROXY_ALPN", value);
        if (type == 0x02) keep(header, "PROXY_AUTHORITY", value);
        if (type == 0x05) keep(header, "PROXY_UNIQUE_ID", value);
        if (type == 0x03 && checksum) wrong = "it has more than one checksum";
        if (type == 0x03) checksum.emplace(value, from + place);
        if (type == 0x20 && !read_ssl(value, header)) wrong = "what it says of TLS is cut off";
    });
    if (!fits) return "a field in it is longer than what is left of it";
    if (!wrong.empty() || !checksum) return wrong;
    // Once: computing it takes as long as all else.
    const auto& [sum, place] = *checksum;
    return sum.size() == 4 && number32(sum) == crc32c(whole, place) ? "" : "its checksum is wrong";
}

/// One whose name is not plain text counts as unnamed.
sys::Address unix_address(std::string_view bytes) {
    sockaddr_un made{};
    made.sun_family = AF_UNIX;
    const bool abstract = bytes[0] == '\0';
    // Of an abstract name the end is not told: what follows it are zeros.
    const auto last = bytes.find_last_not_of('\0');
    std::size_t size = abstract ? (last == bytes.npos ? 0 : last + 1) : std::min(bytes.find('\0'), bytes.size());
    if (size > 0 && !is_plain(bytes.substr(abstract ? 1 : 0, size - (abstract ? 1 : 0)))) size = 0;
    std::memcpy(made.sun_path, bytes.data(), std::min(size, sizeof made.sun_path));
    return sys::Address(reinterpret_cast<const sockaddr*>(&made),
                        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
}

Reading read_addresses(std::string_view whole, unsigned family, Header header) {
    const std::string_view body = whole.substr(kFixed);
    constexpr std::size_t kSizes[] = {12, 36, 216};
    const std::size_t needs = kSizes[family - 1];
    if (body.size() < needs) return malformed("it is too short for its addresses");
    if (family == 1) {
        header.client = address<AF_INET>(body, body.substr(8));
        header.local = address<AF_INET>(body.substr(4), body.substr(10));
    } else if (family == 2) {
        header.client = address<AF_INET6>(body, body.substr(32));
        header.local = address<AF_INET6>(body.substr(16), body.substr(34));
    } else {
        header.client = unix_address(body.substr(0, 108));
        header.local = unix_address(body.substr(108, 108));
    }
    header.names = true;
    if (std::string why = read_tlvs(whole, kFixed + needs, header); !why.empty()) return malformed(std::move(why));
    return header;
}

Reading read_binary(std::string_view bytes) {
    if (bytes.size() < kFixed) return Partial{};
    const auto command = static_cast<unsigned char>(bytes[12]), protocol = static_cast<unsigned char>(bytes[13]);
    if (command >> 4 != 2) return malformed(fmt::format("its version is {}", command >> 4));
    const unsigned what = command & 0xf, family = protocol >> 4, transport = protocol & 0xf;
    if (what > 1) return malformed(fmt::format("its command is {}", what));
    Header header;
    header.size = kFixed + number16(bytes.substr(14));
    if (header.size > kLongest) return malformed(fmt::format("it has {} bytes, more than {}", header.size, kLongest));
    if (what == 1 && (family > 3 || transport > 2))
        return malformed(fmt::format("its family and protocol are 0x{:02x}", protocol));
    if (bytes.size() < header.size) return Partial{};
    // LOCAL, or unspecified: whatever else is in it.
    if (what == 0 || family == 0 || transport == 0) return header;
    // A proxy may bring a client's datagrams over a stream: that is a client as well.
    return read_addresses(bytes.substr(0, header.size), family, std::move(header));
}

bool begins(std::string_view bytes, std::string_view with) {
    return with.starts_with(bytes.substr(0, with.size()));
}

}  // namespace

Reading read(std::string_view bytes, conf::ProxyVersions versions) {
    using conf::ProxyVersions;
    const bool text = begins(bytes, kText), binary = begins(bytes, kSignature);
    if (bytes.empty()) return Partial{};
    if (!text && !binary)
        return malformed(
            fmt::format("it begins with \"{}\"", escape(bytes.substr(0, std::min<std::size_t>(bytes.size(), 12)))));
    if (text && versions == ProxyVersions::v2) return malformed("it is of version 1");
    if (binary && versions == ProxyVersions::v1) return malformed("it is of version 2");
    return text ? (bytes.size() < kText.size() ? Reading(Partial{}) : read_line(bytes)) : read_binary(bytes);
}

}  // namespace superd::net::proxy
