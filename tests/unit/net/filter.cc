// SPDX-License-Identifier: MIT
#include "net/filter.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "admit/access.h"
#include "catch.h"
#include "sys/fd.h"

namespace superd::net::filter_tests {

namespace {

/// What the program decides about a packet with this IP header, run as the kernel would; a load out of bounds drops.
std::uint32_t run(const filter::Program& program, const std::vector<std::uint8_t>& header) {
    std::uint32_t a = 0;
    std::array<std::uint32_t, BPF_MEMWORDS> memory{};
    const auto load = [&](std::uint32_t k, std::size_t size) {
        const auto at = static_cast<std::size_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(k)) - SKF_NET_OFF);
        if (static_cast<std::int32_t>(k) >= 0 || at + size > header.size()) return false;
        a = 0;
        for (std::size_t i = 0; i < size; ++i) a = a << 8 | header[at + i];
        return true;
    };
    for (std::size_t pc = 0; pc < program.size(); ++pc) {
        const auto& [code, yes, no, k] = program[pc];
        switch (code) {
            case BPF_LD | BPF_W | BPF_ABS:
                if (!load(k, 4)) return 0;
                break;
            case BPF_LD | BPF_B | BPF_ABS:
                if (!load(k, 1)) return 0;
                break;
            case BPF_LD | BPF_MEM:
                a = memory.at(k);
                break;
            case BPF_ST:
                memory.at(k) = a;
                break;
            case BPF_ALU | BPF_RSH | BPF_K:
                a >>= k;
                break;
            case BPF_JMP | BPF_JA:
                pc += k;
                break;
            case BPF_JMP | BPF_JEQ | BPF_K:
                pc += a == k ? yes : no;
                break;
            case BPF_JMP | BPF_JGT | BPF_K:
                pc += a > k ? yes : no;
                break;
            case BPF_JMP | BPF_JGE | BPF_K:
                pc += a >= k ? yes : no;
                break;
            case BPF_RET | BPF_K:
                return k;
            default:
                FAIL("instruction " << code);
        }
    }
    FAIL("ran past the end");
    return 0;
}

sys::Fd datagram_socket() {
    return sys::Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

class Cases {
  public:
    explicit Cases(unsigned seed) : engine_(seed) {}

    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(engine_); }
    std::uint8_t byte() { return static_cast<std::uint8_t>(below(256)); }

    /// Bytes of few values, so that prefixes nest, repeat and miss by one bit.
    sys::IpBytes address() {
        static constexpr std::uint8_t kFew[] = {0, 1, 0x7f, 0x80, 0xff};
        sys::IpBytes address;
        address.v6 = below(2) == 0;
        const std::size_t fixed = below(16);
        for (std::size_t i = 0; i < (address.v6 ? 16 : 4); ++i)
            address.bytes[i] = below(8) == 0 ? byte() : i < fixed ? 0x7f : kFew[below(5)];
        return address;
    }

    conf::Access access(std::size_t most) {
        conf::Access access;
        for (auto* list : {&access.allow, &access.deny}) {
            for (auto n = below(3) == 0 ? 0 : below(most); n > 0; --n) {
                const auto base = address();
                const auto length = static_cast<int>(below(base.v6 ? 129 : 33));
                list->push_back({sys::masked(base, length), length});
            }
        }
        if (!access.allow.empty()) access.deny.push_back(access.allow.front());
        return access;
    }

    /// Often at the edge of one of the lists' prefixes.
    sys::IpBytes source(const conf::Access& access) {
        const auto& list = below(2) == 0 ? access.allow : access.deny;
        if (list.empty() || below(4) == 0) return address();
        const auto& prefix = list[below(list.size())];
        auto address = prefix.base;
        const std::size_t bits = address.v6 ? 128 : 32;
        const auto flip = [&](std::size_t bit) {
            address.bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
        };
        const bool end = below(2) == 0;  // the last of the block instead of the first
        for (auto bit = static_cast<std::size_t>(prefix.length); end && bit < bits; ++bit) flip(bit);
        for (auto n = below(3); n > 0; --n) flip(below(bits));
        return address;
    }

    /// An IP header from there; all the rest is noise.
    std::vector<std::uint8_t> header(const sys::IpBytes& source, bool mapped) {
        const bool v6 = source.v6 || mapped;
        std::vector<std::uint8_t> header(v6 ? 40 : 20);
        std::ranges::generate(header, [&] { return byte(); });
        header[0] = static_cast<std::uint8_t>((v6 ? 0x60 : 0x40) | (header[0] & 0x0f));
        if (mapped) {
            std::fill_n(header.begin() + 8, 10, std::uint8_t{0});
            std::fill_n(header.begin() + 18, 2, std::uint8_t{0xff});
        }
        std::copy_n(source.bytes.begin(), source.v6 ? 16 : 4, header.begin() + (mapped ? 20 : v6 ? 8 : 12));
        return header;
    }

  private:
    std::mt19937 engine_;
};

}  // namespace

TEST_CASE("100,000 random packets pass as the access rules say, in compiled programs that the kernel accepts") {
    const auto seed = std::random_device()();
    INFO("seed " << seed);
    Cases cases(seed);
    int denied = 0;
    std::size_t longest = 0;
    for (int i = 0; i < 400; ++i) {
        const auto access = cases.access(i % 4 == 0 ? 200 : 12);
        const admit::AccessRules rules(access);
        const auto program = filter::compile(access);
        REQUIRE(program);
        longest = std::max(longest, program->size());
        if (i % 4 != 0) REQUIRE(filter::attach(datagram_socket().get(), *program));
        for (int j = 0; j < 250; ++j) {
            const auto source = cases.source(access);
            const bool allowed = rules.decide(source).allowed;
            denied += allowed ? 0 : 1;
            const bool mapped = !source.v6 && cases.below(4) == 0;
            if (run(*program, cases.header(source, mapped)) != (allowed ? 0xffffffff : 0))
                FAIL(sys::Prefix(source, source.v6 ? 128 : 32).text() << (mapped ? ", mapped" : ""));
        }
    }
    CHECK(longest > 600);  // past the reach of a conditional jump
    CHECK(denied > 20'000);
    CHECK(denied < 80'000);
}

TEST_CASE("packets that are truncated, or neither IPv4 nor IPv6, are dropped") {
    const auto one = sys::parse_prefix("192.0.2.1").value();
    const auto all_but_one = filter::compile({.allow = {}, .deny = {one}, .times = {}}).value();
    Cases cases(1);
    auto header = cases.header({.bytes = {192, 0, 2, 2}}, false);
    CHECK(run(all_but_one, header) == 0xffffffff);
    header.resize(15);
    CHECK(run(all_but_one, header) == 0);
    header.resize(40);
    header[0] = 0x50;
    CHECK(run(all_but_one, header) == 0);
}

TEST_CASE("hundreds of prefixes fit; thousands are an error that says so") {
    conf::Access access;
    for (unsigned i = 0; i < 4096; ++i) {
        const auto text = "198.18." + std::to_string(i >> 8) + "." + std::to_string(i & 0xff);
        access.deny.push_back(sys::parse_prefix(text).value());
        if (i == 499) {
            const auto program = filter::compile(access);
            REQUIRE(program);
            CHECK(filter::attach(datagram_socket().get(), *program));
        }
    }
    const auto program = filter::compile(access);
    REQUIRE_FALSE(program);
    CHECK(program.error().text.starts_with("compile access lists: 4096 prefixes need a socket filter of "));
}

}  // namespace superd::net::filter_tests
