// SPDX-License-Identifier: MIT
#include "net/filter.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "conf/access_order.h"

namespace superd::net::filter {
namespace {

using Rules = std::span<const conf::AccessRule>;

constexpr std::uint32_t kDrop = 0;
constexpr std::uint32_t kPass = 0xffffffff;
// TCP and UDP run the filter on data that begins at their own header; this offset still finds the IP header.
constexpr auto kNetwork = static_cast<std::uint32_t>(SKF_NET_OFF);
constexpr std::uint32_t kSource4 = kNetwork + 12, kSource6 = kNetwork + 8;

std::uint32_t word_of(const sys::IpBytes& address, std::size_t word) {
    std::uint32_t value = 0;
    std::memcpy(&value, address.bytes.data() + 4 * word, 4);
    return ntohl(value);
}

/// Writes a program from end to beginning: jumps only go forward, so each target is already there.
class Assembler {
  public:
    /// An instruction, counted from the end of the program.
    using Label = std::size_t;

    /// The last instruction written, which runs after the next one.
    Label here() const { return reversed_.size(); }
    void emit(int code, std::uint32_t k) { push(code, 0, 0, k); }
    void jump(Label target) { emit(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(here() - target)); }
    void jump_if(int test, std::uint32_t k, Label yes, Label no) {
        push(BPF_JMP | BPF_K | test, here() - yes, here() - no, k);
    }
    void give(bool deny) {
        emit(BPF_RET | BPF_K, deny ? kDrop : kPass);
        given_[deny] = here();
    }
    void rules(Rules rules, bool deny_rest);
    Program finish() && {
        std::ranges::reverse(reversed_);
        return std::move(reversed_);
    }

  private:
    static constexpr std::size_t kReach = 255;  ///< of a conditional jump

    void push(int code, std::size_t yes, std::size_t no, std::uint32_t k) {
        assert(yes <= kReach && no <= kReach);
        reversed_.push_back(
            {static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(yes), static_cast<std::uint8_t>(no), k});
    }
    Label verdict(bool deny);
    void match_word(std::uint32_t base, int bits, Label yes, Label no);
    void rule(const conf::AccessRule& rule);

    Program reversed_;
    std::array<Label, 2> given_{};  ///< the nearest return of each verdict; 0: none
};

/// A return instruction within reach of every instruction of the next rule.
Assembler::Label Assembler::verdict(bool deny) {
    constexpr std::size_t kLongestRule = 16;  // at most 9, plus 2 that this adds
    if (given_[deny] == 0 || here() - given_[deny] > kReach - kLongestRule) {
        const Label after = here();
        give(deny);
        jump(after);
    }
    return given_[deny];
}

/// Comparing with both ends of the block leaves the accumulator unchanged for the next rule; a mask would not.
void Assembler::match_word(std::uint32_t base, int bits, Label yes, Label no) {
    const std::uint32_t last = base | (bits == 32 ? 0 : 0xffffffff >> bits);
    if (base == last) return jump_if(BPF_JEQ, base, yes, no);
    if (last == 0xffffffff) return jump_if(BPF_JGE, base, yes, no);
    jump_if(BPF_JGT, last, no, yes);
    if (base != 0) jump_if(BPF_JGE, base, here(), no);
}

void Assembler::rule(const conf::AccessRule& rule) {
    const auto& [base, length] = rule.prefix;
    const Label yes = verdict(rule.deny);
    const Label no = here();
    const int last = (length - 1) / 32;
    for (int word = last; word >= 0; --word) {
        match_word(word_of(base, static_cast<std::size_t>(word)), std::min(32, length - 32 * word),
                   word == last ? yes : here(), no);
        if (base.v6) emit(BPF_LD | BPF_MEM, static_cast<std::uint32_t>(word));
    }
}

/// Expects an IPv4 source in the accumulator, an IPv6 one in the first four cells of memory.
void Assembler::rules(Rules rules, bool deny_rest) {
    if (!rules.empty() && rules.back().prefix.length == 0) {
        deny_rest = rules.back().deny;
        rules = rules.first(rules.size() - 1);
    }
    give(deny_rest);
    for (std::size_t i = rules.size(); i-- > 0;) rule(rules[i]);
}

/// Read from the last line to the first to see the program in running order.
Program assemble(Rules v4, Rules v6, bool deny_rest) {
    Assembler to;
    to.rules(v4, deny_rest);
    const auto v4_rules = to.here();
    to.emit(BPF_LD | BPF_W | BPF_ABS, kSource4);
    const auto v4_packet = to.here();

    to.rules(v6, deny_rest);
    const auto v6_rules = to.here();
    to.jump(v4_rules);  // a source in ::ffff:0:0/96
    to.emit(BPF_LD | BPF_MEM, 3);
    for (std::uint32_t word = 3; word-- > 0;) {
        to.jump_if(BPF_JEQ, word == 2 ? 0xffff : 0, to.here(), v6_rules);
        to.emit(BPF_LD | BPF_MEM, word);
    }
    for (std::uint32_t word = 4; word-- > 0;) {
        to.emit(BPF_ST, word);
        to.emit(BPF_LD | BPF_W | BPF_ABS, kSource6 + 4 * word);
    }
    const auto v6_packet = to.here();

    // A dual-stack socket gets packets of both families, so look at the packet, not at the socket's family.
    to.give(true);
    to.jump_if(BPF_JEQ, 6, v6_packet, to.here());
    const auto not_v4 = to.here();
    to.jump(v4_packet);
    to.jump_if(BPF_JEQ, 4, to.here(), not_v4);
    to.emit(BPF_ALU | BPF_RSH | BPF_K, 4);
    to.emit(BPF_LD | BPF_B | BPF_ABS, kNetwork);
    return std::move(to).finish();
}

}  // namespace

Result<Program> compile(const conf::Access& access) {
    const auto order = conf::access_order(access);
    if (order.rules.empty()) return Program{BPF_STMT(BPF_RET | BPF_K, kPass)};
    const auto v6 = std::ranges::find(order.rules, true, [](const auto& rule) { return rule.prefix.base.v6; });
    auto program = assemble({order.rules.begin(), v6}, {v6, order.rules.end()}, order.deny_rest);
    if (program.size() > BPF_MAXINSNS)
        return fail(
            fmt::format("compile access lists: {} prefixes need a socket filter of {} instructions, more than {}",
                        order.rules.size(), program.size(), BPF_MAXINSNS));
    return program;
}

Program deny_all() {
    return {BPF_STMT(BPF_RET | BPF_K, kDrop)};
}

Result<void> attach(int fd, const Program& program) {
    // The kernel only reads the program.
    const sock_fprog given{static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &given, sizeof given) == 0) return {};
    const int code = errno;
    return fail_errno(fmt::format("attach a socket filter of {} instructions{}", program.size(),
                                  code == ENOMEM ? " within net.core.optmem_max" : ""),
                      code);
}

Result<void> detach(int fd) {
    const int unused = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0 || errno == ENOENT) return {};
    if (errno == EOPNOTSUPP) return {};  // Multipath TCP: there can be none
    return fail_errno("detach the socket filter", errno);
}

}  // namespace superd::net::filter
