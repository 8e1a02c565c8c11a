// SPDX-License-Identifier: MIT
#include "conf/sandbox_words.h"

#include <fmt/format.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <expected>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "conf/read.h"
#include "conf/syscall_sets.h"
#include "sys/capabilities.h"
#include "sys/system_calls.h"

namespace superd::conf {
namespace {

constexpr int kMctp = 45;  // newer than Debian 12's headers
constexpr std::array<std::pair<const char*, int>, 45> kFamilies{{
    {"AF_UNIX", AF_UNIX},
    {"AF_INET", AF_INET},
    {"AF_INET6", AF_INET6},
    {"AF_NETLINK", AF_NETLINK},
    {"AF_PACKET", AF_PACKET},
    {"AF_VSOCK", AF_VSOCK},
    {"AF_ALG", AF_ALG},
    {"AF_APPLETALK", AF_APPLETALK},
    {"AF_ASH", AF_ASH},
    {"AF_ATMPVC", AF_ATMPVC},
    {"AF_ATMSVC", AF_ATMSVC},
    {"AF_AX25", AF_AX25},
    {"AF_BLUETOOTH", AF_BLUETOOTH},
    {"AF_BRIDGE", AF_BRIDGE},
    {"AF_CAIF", AF_CAIF},
    {"AF_CAN", AF_CAN},
    {"AF_DECnet", AF_DECnet},
    {"AF_ECONET", AF_ECONET},
    {"AF_IB", AF_IB},
    {"AF_IEEE802154", AF_IEEE802154},
    {"AF_IPX", AF_IPX},
    {"AF_IRDA", AF_IRDA},
    {"AF_ISDN", AF_ISDN},
    {"AF_IUCV", AF_IUCV},
    {"AF_KCM", AF_KCM},
    {"AF_KEY", AF_KEY},
    {"AF_LLC", AF_LLC},
    {"AF_LOCAL", AF_LOCAL},
    {"AF_MCTP", kMctp},
    {"AF_MPLS", AF_MPLS},
    {"AF_NETBEUI", AF_NETBEUI},
    {"AF_NETROM", AF_NETROM},
    {"AF_NFC", AF_NFC},
    {"AF_PHONET", AF_PHONET},
    {"AF_PPPOX", AF_PPPOX},
    {"AF_QIPCRTR", AF_QIPCRTR},
    {"AF_RDS", AF_RDS},
    {"AF_ROSE", AF_ROSE},
    {"AF_RXRPC", AF_RXRPC},
    {"AF_SMC", AF_SMC},
    {"AF_SNA", AF_SNA},
    {"AF_TIPC", AF_TIPC},
    {"AF_WANPIPE", AF_WANPIPE},
    {"AF_X25", AF_X25},
    {"AF_XDP", AF_XDP},
}};

constexpr std::array<std::pair<const char*, int>, 7> kNamespaces{{{"cgroup", CLONE_NEWCGROUP},
                                                                  {"ipc", CLONE_NEWIPC},
                                                                  {"mnt", CLONE_NEWNS},
                                                                  {"net", CLONE_NEWNET},
                                                                  {"pid", CLONE_NEWPID},
                                                                  {"user", CLONE_NEWUSER},
                                                                  {"uts", CLONE_NEWUTS}}};

/// What a word stands for, or why it stands for nothing.
using Meaning = std::expected<std::vector<int>, std::string>;

std::vector<int> in_order(std::set<int> set) {
    return {set.begin(), set.end()};
}

template <class Look>
NumberSet read_set(const Words& words, std::vector<BadWord>& bad, const std::vector<int>& always, Look look) {
    NumberSet set{!words.empty() && words[0].starts_with('~'), {}};
    if (words == Words{"~"}) return set;
    std::set<int> listed, taken_out;
    if (!set.all_but) listed.insert(always.begin(), always.end());
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::string_view name = words[i];
        const bool inverted = name.starts_with('~');
        if (inverted) name.remove_prefix(1);
        const Meaning meaning = look(name);
        if (!meaning) {
            bad.push_back({i, meaning.error()});
            continue;
        }
        std::set<int>& side = inverted && !set.all_but ? taken_out : listed;
        side.insert(meaning->begin(), meaning->end());
    }
    std::erase_if(listed, [&](int number) { return taken_out.contains(number); });
    set.listed = in_order(std::move(listed));
    return set;
}

template <std::size_t N>
Meaning named(const std::array<std::pair<const char*, int>, N>& table, std::string_view name, std::string_view what) {
    Words names;
    for (const auto& [known, number] : table) {
        if (name == known) return std::vector{number};
        names.emplace_back(known);
    }
    return std::unexpected(fmt::format("\"{}\" is not {}{}", name, what, did_you_mean(name, names)));
}

std::uint64_t bits_of(const NumberSet& set) {
    std::uint64_t bits = 0;
    for (const int number : set.listed) bits |= std::uint64_t{1} << number;
    return set.all_but ? ~bits : bits;
}

void add_group(const SyscallSet& group, std::set<int>& out) {
    for (const std::string_view member : split(group.members, ' ')) {
        if (!member.starts_with('@')) {
            if (const auto number = sys::system_call(member)) out.insert(*number);
            continue;
        }
        for (const SyscallSet& one : syscall_sets())
            if (one.name == member) add_group(one, out);
    }
}

/// The members of each, looked up once: with thousands of services this is most of what their sandboxes take to read.
const std::map<std::string_view, std::vector<int>>& groups() {
    static const auto all = [] {
        std::map<std::string_view, std::vector<int>> found;
        for (const SyscallSet& one : syscall_sets()) {
            std::set<int> numbers;
            add_group(one, numbers);
            found.emplace(one.name, in_order(std::move(numbers)));
        }
        return found;
    }();
    return all;
}

Meaning system_calls(std::string_view name) {
    if (name.starts_with('@')) {
        if (const auto known = groups().find(name); known != groups().end()) return known->second;
        Words names;
        for (const SyscallSet& one : syscall_sets()) names.emplace_back(one.name);
        return std::unexpected(fmt::format("\"{}\" is not a group of system calls{}", name, did_you_mean(name, names)));
    }
    if (const auto number = sys::system_call(name)) return std::vector{*number};
    if (sys::is_system_call(name)) return std::vector<int>{};  // of another processor: lists are shared
    if (name.find(':') != std::string_view::npos)
        return std::unexpected(fmt::format("\"{}\": superd has one error for all calls, sandbox.syscall_error", name));
    Words names;
    for (const SyscallSet& one : syscall_sets())
        for (const std::string_view member : split(one.members, ' ')) names.emplace_back(member);
    return std::unexpected(fmt::format("\"{}\" is not a system call{}", name, did_you_mean(name, names)));
}

Meaning capability(std::string_view name) {
    if (const auto number = sys::capability(name)) return std::vector{*number};
    constexpr std::string_view prefix = "CAP_";
    const std::string_view bare = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    return std::unexpected(fmt::format(
        "\"{}\" is not a capability{}", name,
        sys::capability(bare) ? fmt::format(": write \"{}\"", bare) : did_you_mean(bare, sys::capability_names())));
}

/// In front of the list, "~" inverts it.
Words inverted(Words words) {
    if (words.empty()) return {"~"};
    words[0].insert(0, 1, '~');
    return words;
}

}  // namespace

NumberSet read_syscalls(const Words& words, std::vector<BadWord>& bad) {
    return read_set(words, bad, syscalls_of("@default"), system_calls);
}

NumberSet read_address_families(const Words& words, std::vector<BadWord>& bad) {
    if (words == Words{"none"}) return {false, {}};
    return read_set(words, bad, {}, [](std::string_view name) { return named(kFamilies, name, "an address family"); });
}

std::uint64_t read_capabilities(const Words& words, std::vector<BadWord>& bad) {
    return bits_of(read_set(words, bad, {}, capability));
}

std::uint64_t read_namespaces(const Words& words, std::vector<BadWord>& bad) {
    const NumberSet permitted =
        read_set(words, bad, {}, [](std::string_view name) { return named(kNamespaces, name, "a namespace"); });
    std::uint64_t forbidden = 0;
    for (const auto& [name, flag] : kNamespaces)
        if (!permitted.permits(flag)) forbidden |= static_cast<std::uint64_t>(flag);
    return forbidden;
}

std::optional<int> read_errno(std::string_view name) {
    if (name == "kill") return 0;
    constexpr int most = 4095;  // seccomp's
    for (int code = 1; code <= most; ++code) {
        const char* known = strerrorname_np(code);
        if (known != nullptr && name == known) return code;
    }
    return std::nullopt;
}

Words syscall_words(const NumberSet& set) {
    Words words;
    std::set<int> left(set.listed.begin(), set.listed.end());
    // The largest group first; what is in it is not said again.
    std::vector<std::pair<std::size_t, const SyscallSet*>> groups;
    for (const SyscallSet& one : syscall_sets()) groups.emplace_back(syscalls_of(one.name).size(), &one);
    std::ranges::stable_sort(groups, std::greater<>(), &std::pair<std::size_t, const SyscallSet*>::first);
    for (const auto& [size, group] : groups) {
        const std::vector<int>& members = syscalls_of(group->name);
        const bool whole = std::ranges::includes(set.listed, members);
        const bool adds = std::ranges::any_of(members, [&](int number) { return left.contains(number); });
        if (!whole || !adds || (group->name == "@default" && !set.all_but)) continue;
        words.emplace_back(group->name);
        for (const int number : members) left.erase(number);
    }
    if (!set.all_but)
        for (const int number : syscalls_of("@default")) left.erase(number);
    for (const int number : left) words.push_back(sys::system_call_name(number));
    if (set.all_but) return inverted(std::move(words));
    for (const int number : syscalls_of("@default"))
        if (!set.permits(number)) words.push_back("~" + sys::system_call_name(number));
    return words;
}

Words address_family_words(const NumberSet& set) {
    Words words;
    for (const int number : set.listed) {
        const auto known = std::ranges::find(kFamilies, number, &std::pair<const char*, int>::second);
        if (known != kFamilies.end()) words.emplace_back(known->first);
    }
    if (set.all_but) return inverted(std::move(words));
    return words.empty() ? Words{"none"} : words;
}

Words capability_words(std::uint64_t set) {
    Words words;
    const int known = static_cast<int>(sys::capability_names().size());
    // Those without a name here go with the majority: nobody could have listed them.
    const bool most = (set >> known & 1) != 0;
    for (int i = 0; i < known; ++i)
        if (((set >> i & 1) != 0) != most) words.push_back(sys::capability_name(i));
    return most ? inverted(std::move(words)) : words;
}

Words namespace_words(std::uint64_t forbidden) {
    Words words;
    for (const auto& [name, flag] : kNamespaces)
        if ((forbidden & static_cast<std::uint64_t>(flag)) == 0) words.emplace_back(name);
    return words;
}

std::string errno_word(int code) {
    const char* name = code != 0 ? strerrorname_np(code) : "kill";
    return name != nullptr ? name : std::to_string(code);
}

std::uint64_t all_namespaces() {
    std::uint64_t all = 0;
    for (const auto& [name, flag] : kNamespaces) all |= static_cast<std::uint64_t>(flag);
    return all;
}

const std::vector<int>& syscalls_of(std::string_view group) {
    static const std::vector<int> none;
    const auto found = groups().find(group);
    return found != groups().end() ? found->second : none;
}

int latest_syscall() {
    int latest = 0;
    for (const auto& [name, numbers] : groups())
        if (!numbers.empty()) latest = std::max(latest, numbers.back());
    return latest;
}

}  // namespace superd::conf
