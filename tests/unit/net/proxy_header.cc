// SPDX-License-Identifier: MIT
// What the header of a proxy says, and what is none.
#include "net/proxy_header.h"

#include <algorithm>

#include "catch.h"

namespace superd::net::proxy_header_tests {

using namespace superd::net::proxy;
using namespace std::string_literals;
using conf::ProxyVersions;

namespace {

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string number16(std::size_t value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

/// `what`: version and command, family and protocol.
std::string binary(const std::string& what, const std::string& body) {
    return kSignature + what + number16(body.size()) + body;
}

std::string tlv(char type, const std::string& value) {
    return type + number16(value.size()) + value;
}

const std::string kAddresses4 = "\xcb\x00\x71\x07\xc0\x00\x02\x01"s + number16(40000) + number16(443);
const std::string kAddresses6 = "\x20\x01\x0d\xb8"s + std::string(11, 0) + "\x07"s + "\x20\x01\x0d\xb8"s +
                                std::string(11, 0) + "\x01"s + number16(40000) + number16(443);

std::string path(const std::string& name) {
    return name + std::string(108 - name.size(), 0);
}

Header whole(const std::string& bytes, ProxyVersions versions = ProxyVersions::any) {
    INFO(bytes);
    auto said = read(bytes, versions);
    REQUIRE(std::holds_alternative<Header>(said));
    return std::get<Header>(said);
}

std::string why_not(const std::string& bytes, ProxyVersions versions = ProxyVersions::any) {
    INFO(bytes);
    auto said = read(bytes, versions);
    REQUIRE(std::holds_alternative<Malformed>(said));
    return std::get<Malformed>(said).why;
}

std::string variable(const Header& header, std::string_view name) {
    for (const auto& [known, value] : header.variables)
        if (known == name) return value;
    return "";
}

const std::vector<std::string> kGood = {
    "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n",
    "PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n",
    "PROXY UNKNOWN\r\n",
    "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    binary("\x21\x11", kAddresses4),
    binary("\x21\x21", kAddresses6),
    binary("\x21\x31", path("/run/client") + path("/run/proxy")),
    binary("\x20\x00"s, ""),
    binary("\x21\x11", kAddresses4 + tlv(2, "www.example.org") + tlv(4, std::string(300, 0))),
};

}  // namespace

TEST_CASE("a header of either version names the client, and where that came to") {
    for (const std::string& one : {kGood[0], kGood[4], binary("\x21\x12", kAddresses4)}) {
        const Header header = whole(one);
        CHECK(header.names);
        CHECK(header.size == one.size());
        CHECK(header.client.text() == "203.0.113.7:40000");
        CHECK(header.local.text() == "192.0.2.1:443");
    }
    for (const std::string& one : {kGood[1], kGood[5]}) {
        const Header header = whole(one);
        CHECK(header.client.text() == "[2001:db8::7]:40000");
        CHECK(header.local.text() == "[2001:db8::1]:443");
    }
    const Header local = whole(kGood[6]);
    CHECK(local.names);
    CHECK(local.client.text() == "/run/client");
    CHECK(local.local.host() == "/run/proxy");
    CHECK(whole(binary("\x21\x31", path("\0name"s) + path(std::string(108, 'x')))).client.host() == "@name");
    CHECK(whole(binary("\x21\x31", path("") + path(std::string(108, 'x')))).local.host() == std::string(108, 'x'));
    CHECK(whole(binary("\x21\x31", path("") + path("/x"))).client.host().empty());
    // A name that would look like something else in the environment or in the log is none.
    for (const std::string& bad : {"\0a\0LD_PRELOAD=/x"s, "\0a\nb"s, "/a\x1b[2J"s, "/a\xff"s, "\0\0a"s}) {
        const auto header = whole(binary("\x21\x31", path(bad) + path(bad)));
        CHECK(header.local.family() == AF_UNIX);
        CHECK(header.local.host().empty());
        CHECK(header.client.host().empty());
    }
}

TEST_CASE("UNKNOWN, LOCAL and an unspecified family name nobody, whatever else is there") {
    for (const std::string& one :
         {kGood[2], kGood[3], kGood[7], binary("\x20\x11", kAddresses4), binary("\x20\xff", "x"),
          binary("\x21\x00"s, ""), binary("\x21\x00"s, tlv(2, "a")), binary("\x21\x10", kAddresses4),
          binary("\x21\x20", "x"), binary("\x21\x01", "x"), binary("\x21\x10", ""), binary("\x21\x01", "")}) {
        const Header header = whole(one);
        CHECK_FALSE(header.names);
        CHECK(header.variables.empty());
        CHECK(header.size == one.size());
    }
}

TEST_CASE("each beginning of a header is part of one, and what follows it is left alone") {
    for (const std::string& one : kGood) {
        for (std::size_t length = 0; length < one.size(); ++length) {
            INFO(length);
            CHECK(std::holds_alternative<Partial>(read(one.substr(0, length), ProxyVersions::any)));
        }
        for (const char* more : {"x", "\r\n", "PROXY UNKNOWN\r\n", "\n"}) CHECK(whole(one + more).size == one.size());
    }
}

TEST_CASE("what is no header is known by the first byte that shows it") {
    for (const std::string& one : kGood) {
        for (std::size_t at = 0; at < std::min<std::size_t>(one.size(), one[0] == 'P' ? 6 : 12); ++at) {
            INFO(at);
            std::string other = one.substr(0, at + 1);
            other[at] = static_cast<char>(other[at] ^ 0x20);
            CHECK(std::holds_alternative<Malformed>(read(other, ProxyVersions::any)));
        }
    }
    CHECK(why_not("G") == "it begins with \"G\"");
    CHECK(why_not("\x1b[2J\n") == "it begins with \"\\x1b[2J\\n\"");
}

TEST_CASE("lines that are no header") {
    for (const char* words : {"TCP4",
                              "TCP4 1.2.3.4 1.2.3.4 1",
                              "TCP4 1.2.3.4 1.2.3.4 1 2 3",
                              "TCP4 1.2.3.4  1.2.3.4 1 2",
                              "TCP4 1.2.3.4 1.2.3.4 1 2 ",
                              "TCP4 1.2.3 1.2.3.4 1 2",
                              "TCP4 01.2.3.4 1.2.3.4 1 2",
                              "TCP4 ::1 ::1 1 2",
                              "TCP4 1.2.3.256 1.2.3.4 1 2",
                              "TCP4 1.2.3.4 1.2.3.4 65536 2",
                              "TCP4 1.2.3.4 1.2.3.4 -1 2",
                              "TCP4 1.2.3.4 1.2.3.4 +1 2",
                              "TCP4 1.2.3.4 1.2.3.4 1 0x2",
                              "TCP4 1.2.3.4 1.2.3.4 1 ",
                              "TCP4 1.2.3.4 1.2.3.4 00080 2",
                              "TCP4 1.2.3.4 1.2.3.4 1 00",
                              "TCP6 1.2.3.4 1.2.3.4 1 2",
                              "TCP6 ::1%lo ::1 1 2",
                              "TCP6 :::1 ::1 1 2",
                              "tcp4 1.2.3.4 1.2.3.4 1 2",
                              "UDP4 1.2.3.4 1.2.3.4 1 2",
                              "UNKNOWNS",
                              "",
                              " TCP4 1.2.3.4 1.2.3.4 1 2"})
        (void)why_not("PROXY "s + words + "\r\n");
    (void)why_not("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n");
    (void)why_not("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx");
    (void)why_not("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"s);
    (void)why_not("PROXY UNKNOWN \xff\r\n");
}

TEST_CASE("a line ends within 107 bytes") {
    const std::string longest = "PROXY UNKNOWN " + std::string(107 - 14 - 2, 'x');
    CHECK(whole(longest + "\r\n").size == 107);
    CHECK(std::holds_alternative<Partial>(read(longest, ProxyVersions::any)));
    (void)why_not(longest + "x");
    (void)why_not(longest + "x\r\n");
    (void)why_not("PROXY " + std::string(100000, 'x'));
}

TEST_CASE("binary headers that are none") {
    (void)why_not(binary("\x11\x11", kAddresses4));
    (void)why_not(binary("\x31\x11", kAddresses4));
    (void)why_not(binary("\x22\x11", kAddresses4));
    (void)why_not(binary("\x21\x41", kAddresses4));
    (void)why_not(binary("\x21\x13", kAddresses4));
    (void)why_not(binary("\x21\x11", kAddresses4.substr(1)));
    (void)why_not(binary("\x21\x21", kAddresses6.substr(1)));
    (void)why_not(binary("\x21\x31", std::string(215, 'x')));
    (void)why_not(binary("\x21\x11", kAddresses4 + "\x02"));
    (void)why_not(binary("\x21\x11", kAddresses4 + "\x02\x00"s));
    (void)why_not(binary("\x21\x11", kAddresses4 + "\x02\x00\x02x"s));
    (void)why_not(binary("\x21\x11", kAddresses4 + tlv(0x20, "\x01\0\0\0"s)));
    (void)why_not(binary("\x21\x11", kAddresses4 + tlv(0x20, "\x01\0\0\0\0\x21\0\x09x"s)));
}

TEST_CASE("a header that announces more than is taken is refused before that has come") {
    const auto announcing = [](std::size_t size) { return kSignature + "\x21\x11" + number16(size - 16); };
    CHECK(std::holds_alternative<Partial>(read(announcing(kLongest), ProxyVersions::any)));
    CHECK(why_not(announcing(kLongest + 1)) == "it has 4097 bytes, more than 4096");
    (void)why_not(announcing(16 + 65535));
    const auto longest = binary("\x21\x11", kAddresses4 + tlv(4, std::string(kLongest - 16 - 12 - 3, 'x')));
    CHECK(whole(longest + "GET").size == kLongest);
}

TEST_CASE("only the versions that are asked for") {
    CHECK(why_not(kGood[0], ProxyVersions::v2) == "it is of version 1");
    CHECK(why_not(kGood[4], ProxyVersions::v1) == "it is of version 2");
    CHECK(whole(kGood[0], ProxyVersions::v1).names);
    CHECK(whole(kGood[4], ProxyVersions::v2).names);
}

TEST_CASE("what else a header says goes into variables, if it is text") {
    const auto ssl = [](char client, const std::string& verify) {
        return tlv(0x20, client + verify + tlv(0x21, "TLSv1.3") + tlv(0x22, "J\xc3\xb6rg Client") + tlv(0x23, "AES") +
                             tlv(0x24, "SHA256"));
    };
    const auto header = whole(binary("\x21\x11", kAddresses4 + tlv(1, "h2") + tlv(2, "www.example.org") +
                                                     tlv(5, "id-17") + ssl(7, "\0\0\0\0"s) + tlv('\xee', "own")));
    CHECK(header.variables.size() == 6);
    CHECK(variable(header, "PROXY_ALPN") == "h2");
    CHECK(variable(header, "PROXY_AUTHORITY") == "www.example.org");
    CHECK(variable(header, "PROXY_UNIQUE_ID") == "id-17");
    CHECK(variable(header, "PROXY_SSL_VERSION") == "TLSv1.3");
    CHECK(variable(header, "PROXY_SSL_CN") == "J\xc3\xb6rg Client");
    CHECK(variable(header, "PROXY_SSL_CIPHER") == "AES");

    // A certificate that was not verified, none, and no TLS.
    CHECK(variable(whole(binary("\x21\x11", kAddresses4 + ssl(7, "\0\0\0\1"s))), "PROXY_SSL_CN").empty());
    CHECK(variable(whole(binary("\x21\x11", kAddresses4 + ssl(1, "\0\0\0\0"s))), "PROXY_SSL_CN").empty());
    CHECK(whole(binary("\x21\x11", kAddresses4 + ssl(0, "\0\0\0\0"s))).variables.empty());

    for (const std::string& bad : {""s, "a\nb"s, "a\0b"s, "\x1b[2J"s, "\xff"s, "a\u202e"s, std::string(256, 'a')})
        CHECK(whole(binary("\x21\x11", kAddresses4 + tlv(2, bad))).variables.empty());
    const auto twice = whole(binary("\x21\x11", kAddresses4 + tlv(2, "first") + tlv(2, "second")));
    CHECK(twice.variables.size() == 1);
    CHECK(variable(twice, "PROXY_AUTHORITY") == "first");
}

TEST_CASE("a checksum is compared, if there is one") {
    // CRC-32C of the header with four zeros in the checksum's place, as any other implementation gives it.
    const auto with = [](const std::string& sum) {
        return binary("\x21\x11", kAddresses4 + tlv(3, sum) + tlv(2, "a"));
    };
    CHECK(whole(with(std::string("\x52\x39\x2e\xef", 4))).names);
    (void)why_not(with("\x12\x34\x56\x78"));
    (void)why_not(with("\0\0\0\0"s));
    (void)why_not(with("\0\0\0"s));
    // Each would take as long as all else together.
    CHECK(why_not(binary("\x21\x11", kAddresses4 + tlv(3, "abcd") + tlv(3, "abcd"))) ==
          "it has more than one checksum");
}

}  // namespace superd::net::proxy_header_tests
