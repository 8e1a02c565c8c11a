// SPDX-License-Identifier: MIT
#include "admit/access.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "sys/address.h"

namespace superd::admit::access_tests {

namespace {

std::vector<sys::Prefix> prefixes(const std::vector<std::string>& texts) {
    std::vector<sys::Prefix> all;
    for (const auto& text : texts) all.push_back(sys::parse_prefix(text).value());
    return all;
}

AccessRules rules(const std::vector<std::string>& allow, const std::vector<std::string>& deny) {
    return AccessRules({.allow = prefixes(allow), .deny = prefixes(deny), .times = {}});
}

sys::IpBytes ip(const std::string& text) {
    return sys::ip_bytes(sys::Address::inet(text, 0).value()).value();
}

std::string explained(const AccessRules& rules, const std::string& address) {
    const auto verdict = rules.decide(ip(address));
    const std::string by = verdict.rule
                               ? (verdict.rule->deny ? " by deny " : " by allow ") + verdict.rule->prefix.text()
                               : std::string(" by none");
    return (verdict.allowed ? "allowed" : "denied") + by;
}

class Cases {
  public:
    explicit Cases(unsigned seed) : engine_(seed) {}

    int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine_); }

    /// Bytes of few values, so that prefixes nest, repeat and miss by one bit.
    sys::IpBytes address() {
        static constexpr std::uint8_t kFew[] = {0, 1, 0x7f, 0x80, 0xff};
        sys::IpBytes address;
        address.v6 = below(2) == 0;
        for (std::size_t i = 0; i < (address.v6 ? 16 : 4); ++i)
            address.bytes[i] = below(8) == 0 ? static_cast<std::uint8_t>(below(256)) : kFew[below(5)];
        return address;
    }

    conf::Access access() {
        conf::Access access;
        for (auto* list : {&access.allow, &access.deny}) {
            for (int n = below(3) == 0 ? 0 : below(40); n > 0; --n) list->push_back(prefix());
        }
        for (int n = below(4); n > 0 && !access.allow.empty(); --n)
            access.deny.push_back(access.allow[static_cast<std::size_t>(below(static_cast<int>(access.allow.size())))]);
        return access;
    }

    /// Often inside one of the lists' prefixes, or one bit outside it.
    sys::IpBytes source(const conf::Access& access) {
        auto address = this->address();
        const auto& list = below(2) == 0 ? access.allow : access.deny;
        if (list.empty() || below(8) == 0) return address;
        const auto& prefix = list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
        if (address.v6 != prefix.base.v6) return prefix.base;
        for (std::size_t i = 0; i < 16; ++i) {
            const int bits = std::clamp(prefix.length - 8 * static_cast<int>(i), 0, 8);
            const int mask = 0xff00 >> bits & 0xff;
            address.bytes[i] = static_cast<std::uint8_t>((prefix.base.bytes[i] & mask) | (address.bytes[i] & ~mask));
        }
        if (prefix.length > 0 && below(3) == 0) {
            const int bit = prefix.length - 1 - below(std::min(prefix.length, 3));
            address.bytes[static_cast<std::size_t>(bit / 8)] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
        }
        return address;
    }

  private:
    sys::Prefix prefix() {
        const auto base = address();
        const int length = below((base.v6 ? 128 : 32) + 1);
        return {sys::masked(base, length), length};
    }

    std::mt19937 engine_;
};

/// Every rule is tried; a longer one wins, deny wins a tie.
admit::Verdict model(const conf::Access& access, const sys::IpBytes& address) {
    admit::Verdict verdict{access.allow.empty(), std::nullopt};
    const auto consider = [&](const sys::Prefix& prefix, bool deny) {
        if (prefix.base.v6 != address.v6) return;
        for (int bit = 0; bit < prefix.length; ++bit) {
            const auto byte = static_cast<std::size_t>(bit / 8);
            if (((prefix.base.bytes[byte] ^ address.bytes[byte]) << bit % 8 & 0x80) != 0) return;
        }
        const int longest = verdict.rule ? verdict.rule->prefix.length : -1;
        if (prefix.length > longest || (prefix.length == longest && deny))
            verdict = {!deny, conf::AccessRule{prefix, deny}};
    };
    for (const auto& prefix : access.allow) consider(prefix, false);
    for (const auto& prefix : access.deny) consider(prefix, true);
    return verdict;
}

}  // namespace

TEST_CASE("without lists everyone is allowed") {
    CHECK(explained(AccessRules(), "192.0.2.1") == "allowed by none");
    CHECK(explained(rules({}, {}), "2001:db8::1") == "allowed by none");
}

TEST_CASE("an allow list denies the rest, also of the other family; a deny list alone allows it") {
    CHECK(explained(rules({"10.0.0.0/8"}, {}), "11.0.0.1") == "denied by none");
    CHECK(explained(rules({"10.0.0.0/8"}, {}), "::1") == "denied by none");
    CHECK(explained(rules({}, {"10.0.0.0/8"}), "11.0.0.1") == "allowed by none");
    CHECK(explained(rules({}, {"10.0.0.0/8"}), "10.0.0.1") == "denied by deny 10.0.0.0/8");
}

TEST_CASE("the longest prefix wins, and deny wins a tie") {
    const auto nested = rules({"10.1.0.0/16", "10.1.2.3", "10.9.0.0/16"}, {"10.0.0.0/8", "10.1.2.0/24", "10.9.0.0/16"});
    CHECK(explained(nested, "10.2.0.1") == "denied by deny 10.0.0.0/8");
    CHECK(explained(nested, "10.1.9.1") == "allowed by allow 10.1.0.0/16");
    CHECK(explained(nested, "10.1.2.4") == "denied by deny 10.1.2.0/24");
    CHECK(explained(nested, "10.1.2.3") == "allowed by allow 10.1.2.3/32");
    CHECK(explained(nested, "10.9.1.1") == "denied by deny 10.9.0.0/16");
    const auto all = rules({"0.0.0.0/0", "::/0"}, {"2001:db8::/32"});
    CHECK(explained(all, "255.255.255.255") == "allowed by allow 0.0.0.0/0");
    CHECK(explained(all, "2001:db8::1") == "denied by deny 2001:db8::/32");
    CHECK(explained(all, "2001:db9::1") == "allowed by allow ::/0");
}

TEST_CASE("IPv4-mapped addresses and prefixes are IPv4") {
    CHECK(explained(rules({"127.0.0.0/8"}, {}), "::ffff:127.0.0.2") == "allowed by allow 127.0.0.0/8");
    CHECK(explained(rules({}, {"::ffff:192.0.2.0/120"}), "192.0.2.7") == "denied by deny 192.0.2.0/24");
    CHECK(explained(rules({}, {"::/0"}), "::ffff:192.0.2.7") == "allowed by none");
}

TEST_CASE("100,000 random cases get the same decision as trying every rule") {
    const auto seed = std::random_device()();
    INFO("seed " << seed);
    Cases cases(seed);
    int named = 0;
    int denied = 0;
    for (int i = 0; i < 500; ++i) {
        const auto access = cases.access();
        const AccessRules rules(access);
        for (int j = 0; j < 200; ++j) {
            const auto source = cases.source(access);
            const auto verdict = rules.decide(source);
            named += verdict.rule ? 1 : 0;
            denied += verdict.allowed ? 0 : 1;
            if (verdict != model(access, source)) FAIL(sys::Prefix(source, source.v6 ? 128 : 32).text());
        }
    }
    CHECK(named > 30'000);
    CHECK(denied > 20'000);
    CHECK(denied < 80'000);
}

}  // namespace superd::admit::access_tests
