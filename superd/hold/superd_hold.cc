// SPDX-License-Identifier: MIT
// superd-hold SERVICE [NAMESPACE…] [root=PATH] [KIND=PATH…] [state=UID:GID:NAME]
//
// Makes the namespaces and mounts in which the handlers of a service live, tells superd, and then keeps them: superd
// enters them through this process. In a PID namespace it is process 1, which reaps whoever has lost its parent.

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hold/mounts.h"
#include "hold/state_folder.h"
#include "proc/hold_message.h"

namespace {

using superd::hold::Entry;
using superd::hold::Failure;
using superd::proc::HoldMessage;
using superd::proc::kHoldChannel;

struct Orders {
    int namespaces = 0;
    std::string root, state;
    std::vector<Entry> entries;
};

/// Is it this word? Takes it off, and what may stand between it and the path.
bool take(const char*& text, const char* word, bool& optional) {
    const std::size_t length = std::strlen(word);
    if (std::strncmp(text, word, length) != 0) return false;
    const bool question = text[length] == '?';
    if (text[length + question] != '=') return false;
    optional = question;
    text += length + question + 1;
    return true;
}

bool read_word(const char* text, Orders& orders) {
    static constexpr struct {
        const char* word;
        int flag;
    } kNamespaces[] = {{"user", CLONE_NEWUSER},
                       {"mounts", CLONE_NEWNS},
                       {"ipc", CLONE_NEWIPC},
                       {"network", CLONE_NEWNET},
                       {"pids", CLONE_NEWPID}};
    static constexpr struct {
        const char* word;
        Entry::Kind kind;
    } kKinds[] = {{"read-only", Entry::Kind::read_only}, {"read-write", Entry::Kind::read_write},
                  {"as-it-is", Entry::Kind::as_it_is},   {"inaccessible", Entry::Kind::inaccessible},
                  {"scratch", Entry::Kind::scratch},     {"empty", Entry::Kind::empty},
                  {"devices", Entry::Kind::devices},     {"queues", Entry::Kind::queues}};
    for (const auto& [word, flag] : kNamespaces)
        if (std::strcmp(text, word) == 0) return orders.namespaces |= flag, true;
    bool optional = false;
    if (take(text, "root", optional)) return orders.root = text, true;
    if (take(text, "state", optional)) return orders.state = text, true;
    for (const auto& [word, kind] : kKinds)
        if (take(text, word, optional)) return orders.entries.push_back({kind, optional, text, ""}), true;
    // processes=OPTION; its path is known.
    if (!take(text, "processes", optional)) return false;
    orders.entries.push_back({Entry::Kind::processes, optional, "/proc", text});
    return true;
}

void tell(HoldMessage::Word word, const Failure& failure) {
    HoldMessage message{};
    message.word = word;
    message.code = failure.code;
    std::snprintf(message.what, sizeof message.what, "%s", failure.what.c_str());
    send(kHoldChannel, &message, sizeof message, MSG_NOSIGNAL);
}

[[noreturn]] void give_up(const char* what) {
    tell(HoldMessage::Word::failed, {errno, what});
    _exit(1);
}

bool write_file(const char* path, const std::string& text) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool done = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int code = errno;
    close(fd);
    errno = code;
    return done;
}

/// The user and group keep their numbers; nobody else has one there.
void map_own_ids(uid_t uid, gid_t gid) {
    const std::string user = std::to_string(uid), group = std::to_string(gid);
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", user + " " + user + " 1") ||
        !write_file("/proc/self/gid_map", group + " " + group + " 1"))
        give_up("map the user");
}

void bring_loopback_up() {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) give_up("set up the loopback interface");
    close(fd);
}

/// It needs no right any more; what lives beside it must not get one from it.
void renounce(bool as_owner) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct own[2]{}, none[2]{};
    const bool known = syscall(SYS_capget, &header, own) == 0;
    if (syscall(SYS_capset, &header, none) != 0) give_up("give up capabilities");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // superd enters only what it may look into, and has the rights that this process had.
    const bool may_look = known && (own[0].effective >> CAP_SYS_PTRACE & 1) != 0;
    if (may_look && !as_owner) prctl(PR_SET_DUMPABLE, 0);
}

/// Where superd is not root, handlers of its user may write into this process: what it could be made to do is no more
/// than what it does from here on. Their own filter would count for nothing otherwise.
void stay_as_it_is() {
#if defined(__x86_64__)
    constexpr std::uint32_t kProcessor = AUDIT_ARCH_X86_64, kPoll = SYS_poll;
#else
    constexpr std::uint32_t kProcessor = AUDIT_ARCH_AARCH64, kPoll = SYS_ppoll;
#endif
    constexpr std::uint32_t kCalls[] = {SYS_read,         kPoll,          SYS_wait4,          SYS_kill, SYS_sendto,
                                        SYS_rt_sigreturn, SYS_exit_group, SYS_restart_syscall};
    constexpr std::size_t kCount = sizeof kCalls / sizeof *kCalls;
    sock_filter program[kCount + 5] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kProcessor, 0, kCount + 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    };
    for (std::size_t i = 0; i < kCount; ++i)
        program[3 + i] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCalls[i], static_cast<std::uint8_t>(kCount - i), 0);
    program[3 + kCount] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[4 + kCount] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const sock_fprog filter{kCount + 5, program};
    // Without seccomp in the kernel no handler has a filter to get around.
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0 && errno != ENOSYS && errno != EINVAL)
        give_up("install a filter");
}

void reap() {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
}

/// Until superd closes the channel. Process 1 then stays until it is alone, since all that live there die with it.
[[noreturn]] void hold(bool first) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    const int ends = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (ends < 0) give_up("signalfd");
    stay_as_it_is();
    tell(HoldMessage::Word::ready, {});
    bool needed = true;
    while (needed || (first && kill(-1, 0) == 0)) {
        pollfd either[] = {{ends, POLLIN, 0}, {kHoldChannel, POLLIN, 0}};
        poll(either, needed ? 2 : 1, needed ? -1 : 1000);
        signalfd_siginfo about;
        while (read(ends, &about, sizeof about) > 0) {
        }
        reap();
        if (either[1].revents != 0) needed = false;
    }
    _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
    prctl(PR_SET_NAME, "superd-hold");
    if (argc < 2 || fcntl(kHoldChannel, F_GETFD) < 0) {
        static const char usage[] = "superd-hold: only superd starts this program\n";
        (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    Orders orders;
    for (int i = 2; i < argc; ++i)
        if (!read_word(argv[i], orders)) return errno = EINVAL, tell(HoldMessage::Word::failed, {EINVAL, argv[i]}), 2;
    umask(0);
    fcntl(kHoldChannel, F_SETFD, FD_CLOEXEC);
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    // Before it is read-only.
    if (Failure failure = superd::hold::make_state_folder(orders.state, orders.root); failure.code != 0)
        return tell(HoldMessage::Word::failed, failure), 1;
    const bool first = (orders.namespaces & CLONE_NEWPID) != 0;
    if (first) {
        const long pid = syscall(SYS_clone, orders.namespaces | CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0L);
        if (pid < 0) give_up("make namespaces");
        if (pid > 0) return 0;
        tell(HoldMessage::Word::begun, {});
    } else if (unshare(orders.namespaces) != 0) {
        give_up("make namespaces");
    }
    const bool as_owner = (orders.namespaces & CLONE_NEWUSER) != 0;
    if (as_owner) map_own_ids(uid, gid);
    if ((orders.namespaces & CLONE_NEWNET) != 0) bring_loopback_up();
    if ((orders.namespaces & CLONE_NEWNS) != 0) {
        const Failure failure = superd::hold::make_mounts(std::move(orders.entries), orders.root, as_owner);
        if (failure.code != 0) return tell(HoldMessage::Word::failed, failure), 1;
    }
    renounce(as_owner);
    hold(first);
}
