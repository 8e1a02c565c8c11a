// SPDX-License-Identifier: MIT
// Weights and ranges are those of systemd 252's analyze-security.c. It also rates what has no key here: PrivateUsers,
// ProcSubset, NotifyAccess, Delegate.
#include "conf/exposure.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "conf/sandbox_words.h"

namespace superd::conf {
namespace {

constexpr std::uint64_t mask_of(std::initializer_list<int> numbers) {
    std::uint64_t all = 0;
    for (const int one : numbers) all |= std::uint64_t{1} << one;
    return all;
}

struct CapabilityLine {
    const char* setting;
    std::uint64_t set;
    int weight;
    const char* good;
    const char* bad;
};
constexpr std::array<CapabilityLine, 23> kCapabilityLines{{
    {"CapabilityBoundingSet=~CAP_SYS_ADMIN", mask_of({CAP_SYS_ADMIN}), 1500, "has no administrator's privileges",
     "may gain an administrator's privileges"},
    {"CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)", mask_of({CAP_SETUID, CAP_SETGID, CAP_SETPCAP}), 1500,
     "cannot become another user", "may become another user"},
    {"CapabilityBoundingSet=~CAP_SYS_PTRACE", mask_of({CAP_SYS_PTRACE}), 1500, "cannot trace other users' processes",
     "may trace any process"},
    {"CapabilityBoundingSet=~CAP_SYS_TIME", mask_of({CAP_SYS_TIME}), 1000, "cannot set the clock", "may set the clock"},
    {"CapabilityBoundingSet=~CAP_NET_ADMIN", mask_of({CAP_NET_ADMIN}), 1000, "cannot configure the network",
     "may configure the network"},
    {"CapabilityBoundingSet=~CAP_SYS_RAWIO", mask_of({CAP_SYS_RAWIO}), 1000, "has no raw input and output",
     "may do raw input and output"},
    {"CapabilityBoundingSet=~CAP_SYS_MODULE", mask_of({CAP_SYS_MODULE}), 1000, "cannot load kernel modules",
     "may load kernel modules"},
    {"CapabilityBoundingSet=~CAP_AUDIT_*", mask_of({CAP_AUDIT_CONTROL, CAP_AUDIT_READ, CAP_AUDIT_WRITE}), 500,
     "has no access to auditing", "may change and read auditing"},
    {"CapabilityBoundingSet=~CAP_SYSLOG", mask_of({CAP_SYSLOG}), 500, "has no access to the kernel's log",
     "may read the kernel's log"},
    {"CapabilityBoundingSet=~CAP_SYS_(NICE|RESOURCE)", mask_of({CAP_SYS_NICE, CAP_SYS_RESOURCE}), 500,
     "cannot exceed its limits of resources", "may exceed its limits of resources"},
    {"CapabilityBoundingSet=~CAP_MKNOD", mask_of({CAP_MKNOD}), 500, "cannot make device nodes",
     "may make device nodes"},
    {"CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)", mask_of({CAP_CHOWN, CAP_FSETID, CAP_SETFCAP}), 1000,
     "cannot give files away, nor capabilities to them", "may give files away, and capabilities to them"},
    {"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)",
     mask_of({CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_IPC_OWNER}), 1000,
     "is bound by the permissions of files", "may pass over the permissions of files"},
    {"CapabilityBoundingSet=~CAP_KILL", mask_of({CAP_KILL}), 500, "cannot signal other users' processes",
     "may signal any process"},
    {"CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|BROADCAST|RAW)",
     mask_of({CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST, CAP_NET_RAW}), 500, "has no privileges in the network",
     "may listen on low ports and send raw packets"},
    {"CapabilityBoundingSet=~CAP_SYS_BOOT", mask_of({CAP_SYS_BOOT}), 100, "cannot reboot", "may reboot"},
    {"CapabilityBoundingSet=~CAP_MAC_*", mask_of({CAP_MAC_ADMIN, CAP_MAC_OVERRIDE}), 100,
     "cannot change mandatory access control", "may change mandatory access control"},
    {"CapabilityBoundingSet=~CAP_LINUX_IMMUTABLE", mask_of({CAP_LINUX_IMMUTABLE}), 75, "cannot make files immutable",
     "may make files immutable"},
    {"CapabilityBoundingSet=~CAP_IPC_LOCK", mask_of({CAP_IPC_LOCK}), 50, "cannot lock memory beyond its limit",
     "may lock memory beyond its limit"},
    {"CapabilityBoundingSet=~CAP_SYS_CHROOT", mask_of({CAP_SYS_CHROOT}), 50, "cannot change its root directory",
     "may change its root directory"},
    {"CapabilityBoundingSet=~CAP_(BLOCK_SUSPEND|WAKE_ALARM)", mask_of({CAP_BLOCK_SUSPEND, CAP_WAKE_ALARM}), 50,
     "cannot keep the machine awake", "may keep the machine awake"},
    {"CapabilityBoundingSet=~CAP_LEASE", mask_of({CAP_LEASE}), 25, "cannot take leases on others' files",
     "may take leases on others' files"},
    {"CapabilityBoundingSet=~CAP_SYS_(TTY_CONFIG|PACCT)", mask_of({CAP_SYS_TTY_CONFIG, CAP_SYS_PACCT}), 50,
     "cannot hang up terminals, nor switch accounting", "may hang up terminals, and switch accounting"},
}};

struct NamespaceLine {
    const char* setting;
    std::uint64_t flag;
    int weight;
};
constexpr std::array<NamespaceLine, 7> kNamespaceLines{{
    {"RestrictNamespaces=~user", CLONE_NEWUSER, 1500},
    {"RestrictNamespaces=~mnt", CLONE_NEWNS, 500},
    {"RestrictNamespaces=~ipc", CLONE_NEWIPC, 500},
    {"RestrictNamespaces=~pid", CLONE_NEWPID, 500},
    {"RestrictNamespaces=~cgroup", CLONE_NEWCGROUP, 500},
    {"RestrictNamespaces=~net", CLONE_NEWNET, 500},
    {"RestrictNamespaces=~uts", CLONE_NEWUTS, 100},
}};

struct GroupLine {
    const char* setting;
    const char* group;
    int weight;
};
constexpr std::array<GroupLine, 11> kGroupLines{{
    {"SystemCallFilter=~@swap", "@swap", 1000},
    {"SystemCallFilter=~@obsolete", "@obsolete", 250},
    {"SystemCallFilter=~@clock", "@clock", 1000},
    {"SystemCallFilter=~@cpu-emulation", "@cpu-emulation", 250},
    {"SystemCallFilter=~@debug", "@debug", 1000},
    {"SystemCallFilter=~@mount", "@mount", 1000},
    {"SystemCallFilter=~@module", "@module", 1000},
    {"SystemCallFilter=~@raw-io", "@raw-io", 1000},
    {"SystemCallFilter=~@reboot", "@reboot", 1000},
    {"SystemCallFilter=~@privileged", "@privileged", 700},
    {"SystemCallFilter=~@resources", "@resources", 700},
}};

struct Rating {
    int from;
    const char* name;
};
constexpr std::array<Rating, 7> kRatings{
    {{100, "DANGEROUS"}, {90, "UNSAFE"}, {75, "EXPOSED"}, {50, "MEDIUM"}, {10, "OK"}, {1, "SAFE"}, {0, "PERFECT"}}};

constexpr int rounded_up(int number, int by) {
    return (number + by - 1) / by;
}

class Assessor {
  public:
    explicit Assessor(const Service& service) : service_(service), handler_(service.handler), box_(*service.sandbox) {}

    Exposure run() {
        identity();
        privacy();
        protection();
        privileges();
        namespaces();
        families();
        calls();
        network();
        return sum();
    }

  private:
    void add(const char* setting, int weight, int range, int badness, const char* says, const char* mend) {
        out_.lines.push_back({setting, says, badness > 0 ? mend : "", weight, badness, range, 0});
    }
    void add(const char* setting, int weight, bool good, const char* says_good, const char* says_bad,
             const char* mend) {
        add(setting, weight, 1, good ? 0 : 1, good ? says_good : says_bad, mend);
    }

    bool is_root() const { return handler_.identity && handler_.identity->uid == 0; }

    void identity() {
        const bool nobody = handler_.identity && handler_.identity->user == "nobody";
        add("User=", 2000, 10,
            is_root() ? 10
            : nobody  ? 9
                      : 0,
            is_root() ? "runs as root"
            : nobody  ? "runs as nobody, who may have other processes and files"
                      : "runs as a user of its own",
            nobody ? "user = \"NAME\", a user of the service's own" : "user = \"NAME\", who is not root");
        if (!is_root() && handler_.identity)
            add("SupplementaryGroups=", 200, other_groups(handler_).empty(), "has no supplementary groups",
                "has supplementary groups", "supplementary_groups = []");
        add("RootDirectory=", 200, !handler_.root_directory.empty(), "has a root directory of its own",
            "has the machine's root directory", "root_directory = \"/PATH\"");
        const int open = (handler_.umask & 02) == 0    ? 10
                         : (handler_.umask & 04) == 0  ? 5
                         : (handler_.umask & 020) == 0 ? 2
                         : (handler_.umask & 040) == 0 ? 1
                                                       : 0;
        add("UMask=", 100, 10, open,
            open > 5   ? "writes files that all may write"
            : open > 0 ? "writes files that others may read"
                       : "writes files for itself",
            "umask = \"0077\"");
        add("KeyringMode=", 1000, true, "has a session keyring of its own", "", "");
    }

    void privacy() {
        const bool no_devices = box_.private_devices && box_.changes_mounts();
        add("PrivateDevices=", 1000, no_devices, "has no devices", "has the machine's devices",
            "sandbox.private_devices = true");
        add("DeviceAllow=", 1000, no_devices, "can open no device but the likes of /dev/null",
            "can open devices, as its user may", "sandbox.private_devices = true");
        add("PrivateMounts=", 1000, box_.changes_mounts(), "has mounts of its own", "has the machine's mounts",
            "sandbox.protect_system = true");
        add("PrivateNetwork=", 2500, box_.private_network, "has no network but its connection",
            "has the machine's network", "sandbox.private_network = true");
        add("PrivateTmp=", 1000, box_.private_tmp, "has a /tmp of its own", "sees others' files in /tmp",
            "sandbox.private_tmp = true");
        add("PrivateIPC=", 100, box_.private_ipc, "leaves no shared memory behind", "may leave shared memory behind",
            "sandbox.private_ipc = true");
    }

    void protection() {
        struct Part {
            const char* setting;
            int weight;
            const char* good;
            const char* bad;
            bool by_mounts = false;
        };
        static constexpr std::array<Part, 6> parts{{
            {"ProtectControlGroups=", 1000, "cannot change control groups", "may change control groups", true},
            {"ProtectKernelModules=", 1000, "cannot load or read kernel modules", "may load or read kernel modules"},
            {"ProtectKernelTunables=", 1000, "cannot set the kernel's variables", "may set the kernel's variables",
             true},
            {"ProtectKernelLogs=", 1000, "cannot read the kernel's log", "may read the kernel's log"},
            {"ProtectClock=", 1000, "cannot set the clock", "may set the clock"},
            {"ProtectHostname=", 50, "cannot set the host name", "may set the host name"},
        }};
        for (const Part& one : parts)
            add(one.setting, one.weight, box_.protect_kernel && (!one.by_mounts || box_.changes_mounts()), one.good,
                one.bad, "sandbox.protect_kernel = true");
        static constexpr std::array<std::pair<int, const char*>, 4> homes{{{10, "sees home directories"},
                                                                           {0, "does not see home directories"},
                                                                           {5, "may read home directories"},
                                                                           {1, "sees empty home directories"}}};
        const auto& [home, says_home] = homes.at(static_cast<std::size_t>(box_.protect_home));
        add("ProtectHome=", 1000, 10, home, says_home, "sandbox.protect_home = true");
        static constexpr std::array<std::pair<int, const char*>, 4> systems{
            {{10, "may write wherever its user may"},
             {5, "may not write to /usr and /boot"},
             {3, "may not write to /usr, /boot and /etc"},
             {0, "may write only where it is told to"}}};
        const auto& [system, says_system] = systems.at(static_cast<std::size_t>(box_.protect_system));
        add("ProtectSystem=", 1000, 10, system, says_system, "sandbox.protect_system = \"strict\"");
        const bool hides = box_.private_pids || box_.protect_proc == ProtectProc::invisible ||
                           box_.protect_proc == ProtectProc::ptraceable;
        const int processes = hides ? 0 : box_.protect_proc == ProtectProc::noaccess ? 1 : 3;
        add("ProtectProc=", 1000, 3, processes,
            processes == 0 ? "does not see others' processes" : "sees others' processes",
            "sandbox.protect_proc = \"invisible\"");
    }

    void privileges() {
        add("NoNewPrivileges=", 1000, box_.no_new_privileges, "cannot gain privileges",
            "may gain privileges by set-id programs", "sandbox.no_new_privileges = true");
        // A superd that is not root leaves the bounding set as it is.
        const std::uint64_t has =
            handler_.identity ? bounding_set(box_, is_root()) : box_.capabilities.value_or(kAllCapabilities);
        for (const CapabilityLine& one : kCapabilityLines)
            add(one.setting, one.weight, (has & one.set) == 0, one.good, one.bad, "sandbox.capabilities = []");
        add("AmbientCapabilities=", 500, box_.ambient_capabilities == 0, "is given no capabilities",
            "is given capabilities", "sandbox.ambient_capabilities = []");
        add("RestrictRealtime=", 500, box_.restrict_realtime, "cannot be scheduled in real time",
            "may be scheduled in real time, as its limits let it", "sandbox.restrict_realtime = true");
        add("RestrictSUIDSGID=", 1000, box_.restrict_suid_sgid, "cannot make set-id files", "may make set-id files",
            "sandbox.restrict_suid_sgid = true");
        add("LockPersonality=", 100, box_.lock_personality, "cannot change its personality(2)",
            "may change its personality(2)", "sandbox.lock_personality = true");
        add("MemoryDenyWriteExecute=", 100, box_.memory_deny_write_execute, "cannot write code into memory",
            "may write code into memory and run it", "sandbox.memory_deny_write_execute = true");
    }

    void namespaces() {
        for (const NamespaceLine& one : kNamespaceLines)
            add(one.setting, one.weight, (box_.forbidden_namespaces & one.flag) != 0, "cannot make such namespaces",
                "may make such namespaces", "sandbox.restrict_namespaces = true");
    }

    void families() {
        const NumberSet& set = box_.address_families;
        const char* mend = "sandbox.restrict_address_families = \"none\"";
        const auto line = [&](const char* setting, int weight, bool may) {
            add(setting, weight, !may, "cannot open such sockets", "may open such sockets", mend);
        };
        line("RestrictAddressFamilies=~AF_(INET|INET6)", 1500, set.permits(AF_INET) || set.permits(AF_INET6));
        line("RestrictAddressFamilies=~AF_UNIX", 25, set.permits(AF_UNIX));
        line("RestrictAddressFamilies=~AF_NETLINK", 200, set.permits(AF_NETLINK));
        line("RestrictAddressFamilies=~AF_PACKET", 1000, set.permits(AF_PACKET));
        bool others = false;
        for (int family = 1; family < AF_MAX && !others; ++family) {
            const bool named = family == AF_INET || family == AF_INET6 || family == AF_UNIX || family == AF_NETLINK ||
                               family == AF_PACKET;
            others = !named && set.permits(family);
        }
        line("RestrictAddressFamilies=~…", 1250, others);
    }

    void calls() {
        add("SystemCallArchitectures=", 1000, 10, box_.needs_filter() ? 0 : 10,
            box_.needs_filter() ? "can make calls of this processor's table only" : "can make calls of every table",
            "sandbox.syscalls = [\"@system-service\"]");
        for (const GroupLine& one : kGroupLines) {
            const NumberSet& set = box_.syscalls;
            const bool may = std::ranges::any_of(syscalls_of(one.group), [&](int call) { return set.permits(call); });
            add(one.setting, one.weight, 10,
                !may          ? 0
                : set.all_but ? 10
                              : 9,
                may ? "can make some of these calls" : "cannot make these calls",
                set.all_but ? "sandbox.syscalls = [\"@system-service\"]" : "sandbox.syscalls, without this group");
        }
    }

    /// As systemd does, this rates whom it may talk to; superd's lists decide who may talk to it.
    void network() {
        const Access& access = service_.access;
        const bool restricted = !access.allow.empty();
        const bool near = restricted && std::ranges::all_of(access.allow, [](const sys::Prefix& one) {
                              static const auto four = *sys::parse_prefix("127.0.0.0/8"),
                                                six = *sys::parse_prefix("::1");
                              return four.contains(one.base) || six.contains(one.base);
                          });
        add("IPAddressDeny=", 1000, 10,
            near         ? 2
            : restricted ? 5
                         : 10,
            near         ? "serves this machine only"
            : restricted ? "serves the prefixes of a list"
                         : "serves every address",
            "access.allow = [\"PREFIX\"]");
    }

    Exposure sum() {
        int weights = 0, bad = 0;
        for (const ExposureLine& one : out_.lines) {
            weights += one.weight;
            bad += rounded_up(one.badness * one.weight, one.range);
        }
        for (ExposureLine& one : out_.lines)
            one.tenths = rounded_up(rounded_up(one.badness * one.weight * 100, one.range), weights);
        out_.tenths = rounded_up(bad * 100, weights);
        out_.rating = std::ranges::find_if(kRatings, [&](const Rating& one) { return out_.tenths >= one.from; })->name;
        return std::move(out_);
    }

    const Service& service_;
    const Handler& handler_;
    const Sandbox& box_;
    Exposure out_;
};

}  // namespace

std::vector<gid_t> other_groups(const Handler& handler) {
    std::vector<gid_t> groups = handler.identity ? handler.identity->groups : std::vector<gid_t>();
    if (handler.identity) std::erase(groups, handler.identity->gid);
    return groups;
}

Exposure exposure(const Service& service) {
    return Assessor(service).run();
}

}  // namespace superd::conf
