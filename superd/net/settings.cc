// SPDX-License-Identifier: MIT
// A socket's settings, and how to restore them.
#include <linux/bpf.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "net/health.h"
#include "sys/fd.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace superd::net {
namespace {

struct Option {
    int level, name;
    std::string_view text;
};

/// Options that connections inherit, that keep clients away, or that change what is received or sent. If a socket lacks
/// an option, the error is compared as well.
constexpr Option kOptions[] = {
    {SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"},
    {SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"},
    {SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"},
    {SOL_SOCKET, SO_RCVTIMEO, "SO_RCVTIMEO"},
    {SOL_SOCKET, SO_SNDTIMEO, "SO_SNDTIMEO"},
    {SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"},
    {SOL_SOCKET, SO_LINGER, "SO_LINGER"},
    {SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY"},
    {SOL_SOCKET, SO_MARK, "SO_MARK"},
    {SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
    {SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"},
    {SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST"},
    {SOL_SOCKET, SO_DONTROUTE, "SO_DONTROUTE"},
    {SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"},
    {SOL_SOCKET, SO_PASSCRED, "SO_PASSCRED"},
    {SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"},
    {SOL_SOCKET, SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE"},
    {SOL_SOCKET, SO_BINDTOIFINDEX, "SO_BINDTODEVICE"},
    {IPPROTO_IP, IP_OPTIONS, "IP_OPTIONS"},
    {IPPROTO_IP, IP_TOS, "IP_TOS"},
    {IPPROTO_IP, IP_TTL, "IP_TTL"},
    {IPPROTO_IP, IP_MINTTL, "IP_MINTTL"},
    {IPPROTO_IP, IP_MTU_DISCOVER, "IP_MTU_DISCOVER"},
    {IPPROTO_IP, IP_RECVERR, "IP_RECVERR"},
    {IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO"},
    {IPPROTO_IP, IP_MULTICAST_ALL, "IP_MULTICAST_ALL"},
    {IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS"},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"},
    {IPPROTO_IPV6, IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT"},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"},
    {IPPROTO_IPV6, IPV6_RECVERR, "IPV6_RECVERR"},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"},
    {IPPROTO_IPV6, IPV6_MULTICAST_ALL, "IPV6_MULTICAST_ALL"},
    {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
    {IPPROTO_TCP, TCP_MAXSEG, "TCP_MAXSEG"},
    {IPPROTO_TCP, TCP_CORK, "TCP_CORK"},
    {IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"},
    {IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"},
    {IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"},
    {IPPROTO_TCP, TCP_LINGER2, "TCP_LINGER2"},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP"},
    {IPPROTO_TCP, TCP_CONGESTION, "TCP_CONGESTION"},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"},
    {IPPROTO_TCP, TCP_FASTOPEN, "TCP_FASTOPEN"},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"},
    {IPPROTO_UDP, UDP_CORK, "UDP_CORK"},
    {IPPROTO_UDP, UDP_ENCAP, "UDP_ENCAP"},
    {IPPROTO_UDP, UDP_SEGMENT, "UDP_SEGMENT"},
    {IPPROTO_UDP, UDP_GRO, "UDP_GRO"},
    // The order is that of a state that is handed over: what is new comes last.
    {IPPROTO_IP, IP_TRANSPARENT, "IP_TRANSPARENT"},
};

constexpr std::size_t kLongest = 16;  ///< of a value: timeval, and the name of a congestion control

/// Empty if the socket does not have this option; nullopt if the query failed.
std::optional<std::string> read_option(int fd, const Option& option) {
    char value[kLongest] = {};
    socklen_t size = sizeof value;
    if (getsockopt(fd, option.level, option.name, value, &size) == 0) return std::string(value, size);
    if (errno == ENOMEM || errno == ENOBUFS) return std::nullopt;
    return std::string();
}

constexpr char kUnknown = 0x7f;

/// The values in order, each preceded by its length or kUnknown.
std::optional<std::string_view> next_of(std::string_view& settings) {
    if (settings.empty()) return std::nullopt;
    if (settings[0] == kUnknown) {
        settings.remove_prefix(1);
        return std::nullopt;
    }
    const auto size = std::min<std::size_t>(static_cast<unsigned char>(settings[0]), settings.size() - 1);
    const auto value = settings.substr(1, size);
    settings.remove_prefix(1 + size);
    return value;
}

template <class Text>
void append(std::string& settings, const std::optional<Text>& value) {
    settings += value ? static_cast<char>(value->size()) : kUnknown;
    if (value) settings += *value;
}

void write_option(int fd, const Option& option, std::string_view value) {
    int bytes = 0;
    if (option.level == SOL_SOCKET && (option.name == SO_RCVBUF || option.name == SO_SNDBUF) &&
        value.size() == sizeof bytes) {
        std::memcpy(&bytes, value.data(), sizeof bytes);
        bytes /= 2;  // socket(7): the kernel doubles the value that is set
        const int forced = option.name == SO_RCVBUF ? SO_RCVBUFFORCE : SO_SNDBUFFORCE;
        if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) == 0) return;
        setsockopt(fd, SOL_SOCKET, option.name, &bytes, sizeof bytes);
        return;
    }
    setsockopt(fd, option.level, option.name, value.data(), static_cast<socklen_t>(value.size()));
}

}  // namespace

std::string read_settings(int fd) {
    std::string settings;
    for (const Option& option : kOptions) append(settings, read_option(fd, option));
    return settings;
}

std::string merge_settings(const std::string& settings, const std::string& before, const std::string& after) {
    std::string merged;
    std::string_view old = settings, from = before, to = after;
    while (!to.empty()) {
        const auto kept = next_of(old), was = next_of(from), is = next_of(to);
        append(merged, was == is ? kept : is);
    }
    return merged;
}

bool restore_settings(int fd, const std::string& settings, bool named_device, Health& health) {
    std::string_view rest = settings;
    bool all = true;
    for (const Option& option : kOptions) {
        const auto wanted = next_of(rest);
        if (named_device && option.name == SO_BINDTOIFINDEX && option.level == SOL_SOCKET) continue;
        const auto is = read_option(fd, option);
        if (!wanted || !is || *is == *wanted) continue;
        health.add(option.text);
        write_option(fd, option, *wanted);
        all = read_option(fd, option).value_or(std::string(*wanted)) == *wanted && all;
    }
    return all;
}

std::optional<std::uint64_t> filter_print(int fd) {
    constexpr std::uint64_t kForeign = 1;  // an extended program, which the kernel does not show
    const auto failed = [&] { return errno == EACCES ? std::optional(kForeign) : std::nullopt; };
    socklen_t count = 0;  // in instructions, of the program as it was given
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &count) != 0) return failed();
    if (count == 0) return 0;
    std::vector<sock_filter> program(count);
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, program.data(), &count) != 0) return failed();
    program.resize(std::min<std::size_t>(count, program.size()));
    std::uint64_t print = 14695981039346656037U;  // FNV-1a
    for (const sock_filter& one : program)
        for (const std::uint64_t part :
             {std::uint64_t{one.code}, std::uint64_t{one.jt}, std::uint64_t{one.jf}, std::uint64_t{one.k}})
            print = (print ^ part) * 1099511628211U;
    return print | 2;
}

bool let_migrate(int fd) {
    // "return SK_PASS": the kernel picks one of the sockets that still listen.
    const std::array<bpf_insn, 2> program{
        {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, SK_PASS}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}}};
    const char license[] = "MIT";
    bpf_attr load{};
    load.prog_type = BPF_PROG_TYPE_SK_REUSEPORT;
    load.expected_attach_type = BPF_SK_REUSEPORT_SELECT_OR_MIGRATE;
    load.insn_cnt = program.size();
    load.insns = reinterpret_cast<std::uintptr_t>(program.data());
    load.license = reinterpret_cast<std::uintptr_t>(license);
    const sys::Fd loaded(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load)));
    const int number = loaded.get();
    return loaded && setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &number, sizeof number) == 0;
}

void steer(int fd, std::uint32_t place) {
    sock_filter code{BPF_RET | BPF_K, 0, 0, place};
    const sock_fprog program{1, &code};
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

}  // namespace superd::net
