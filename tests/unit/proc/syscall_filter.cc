// SPDX-License-Identifier: MIT
#include "proc/syscall_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "conf/sandbox_words.h"
#include "proc/bpf.h"
#include "tests/catch.h"

namespace superd::proc::syscall_filter_tests {

using conf::Sandbox;
using Program = std::vector<sock_filter>;

namespace {

#if defined(__x86_64__)
constexpr unsigned kHere = AUDIT_ARCH_X86_64;
#else
constexpr unsigned kHere = AUDIT_ARCH_AARCH64;
#endif

constexpr unsigned kAllowed = SECCOMP_RET_ALLOW, kKilled = SECCOMP_RET_KILL_PROCESS;
constexpr unsigned error(int code) {
    return SECCOMP_RET_ERRNO | static_cast<unsigned>(code);
}

using Arguments = std::array<std::uint64_t, 6>;

/// What a program answers to a call: what the kernel's interpreter does with the instructions that filters have.
unsigned answer(const Program& program, int number, const Arguments& arguments = {}, unsigned processor = kHere) {
    seccomp_data data{};
    data.nr = number;
    data.arch = processor;
    for (std::size_t i = 0; i < arguments.size(); ++i) data.args[i] = arguments[i];
    std::uint32_t a = 0;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const sock_filter& one = program[at];
        switch (one.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                REQUIRE(one.k + sizeof a <= sizeof data);
                std::memcpy(&a, reinterpret_cast<const char*>(&data) + one.k, sizeof a);
                break;
            case BPF_ALU | BPF_AND | BPF_K:
                a &= one.k;
                break;
            case BPF_JMP | BPF_JA:
                at += one.k;
                break;
            case BPF_JMP | BPF_JEQ | BPF_K:
                at += a == one.k ? one.jt : one.jf;
                break;
            case BPF_JMP | BPF_JGE | BPF_K:
                at += a >= one.k ? one.jt : one.jf;
                break;
            case BPF_JMP | BPF_JSET | BPF_K:
                at += (a & one.k) != 0 ? one.jt : one.jf;
                break;
            case BPF_RET | BPF_K:
                return one.k;
            default:
                FAIL("instruction " << one.code);
        }
    }
    FAIL("the program ends without an answer");
    return 0;
}

Sandbox with(void (*set)(Sandbox&)) {
    Sandbox box;
    set(box);
    return box;
}

/// Does `act` under a filter; its result is the child's exit status, or its signal and 128.
template <class Act>
int under(const Program& filter, Act act) {
    const pid_t pid = fork();
    if (pid == 0) {
        const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
            _exit(99);
        _exit(act());
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool has_filters() {
    const unsigned action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

}  // namespace

TEST_CASE("a sandbox without anything to judge has no filter") {
    CHECK(syscall_filter(Sandbox{}).empty());
    CHECK(syscall_filter(conf::sandbox_of(conf::Preset::none)).empty());
}

TEST_CASE("every call gets the answer that its list says, and nothing between two of them gets lost") {
    std::vector<conf::BadWord> bad;
    for (const conf::Words& words : {conf::Words{"@system-service"}, conf::Words{"~@privileged", "@mount"},
                                     conf::Words{"read", "write"}, conf::Words{"~read"}}) {
        Sandbox box;
        box.syscalls = conf::read_syscalls(words, bad);
        box.syscall_error = EXFULL;
        const Program program = syscall_filter(box);
        for (int number = 0; number <= conf::latest_syscall(); ++number) {
            INFO(words[0] << ": " << number);
            CHECK(answer(program, number) == (box.syscalls.permits(number) ? kAllowed : error(EXFULL)));
        }
    }
}

TEST_CASE("a call that no list could have known does not exist under one that permits, and passes one that refuses") {
    std::vector<conf::BadWord> bad;
    Sandbox box = conf::sandbox_of(conf::Preset::strict);
    for (const int number : {conf::latest_syscall() + 1, 1000, 100'000}) {
        CHECK(answer(syscall_filter(box), number) == error(ENOSYS));
        Sandbox denies;
        denies.syscalls = conf::read_syscalls({"~mount"}, bad);
        CHECK(answer(syscall_filter(denies), number) == kAllowed);
    }
}

TEST_CASE("other tables of calls are refused as a whole") {
    Sandbox box = with([](Sandbox& one) { one.restrict_realtime = true; });
    CHECK(answer(syscall_filter(box), SYS_getpid, {}, AUDIT_ARCH_I386) == kKilled);
    CHECK(answer(syscall_filter(box), SYS_getpid, {}, AUDIT_ARCH_ARM) == kKilled);
    box.syscall_error = EPERM;
    CHECK(answer(syscall_filter(box), SYS_getpid, {}, AUDIT_ARCH_I386) == error(EPERM));
#if defined(__x86_64__)
    CHECK(answer(syscall_filter(box), 0x40000000 | SYS_getpid) == error(EPERM));
#endif
}

TEST_CASE("a call that a tracer has taken back passes: the kernel makes none") {
    CHECK(answer(syscall_filter(conf::sandbox_of(conf::Preset::strict)), -1) == kAllowed);
}

TEST_CASE("what superd itself calls is not refused by the list, but judged as ever") {
    std::vector<conf::BadWord> bad;
    Sandbox box;
    box.syscalls = conf::read_syscalls({"read"}, bad);
    box.address_families = {false, {AF_UNIX}};
    const std::array<int, 2> also{SYS_socket, SYS_recvmsg};
    const Program program = syscall_filter(box, also);
    CHECK(answer(program, SYS_recvmsg) == kAllowed);
    CHECK(answer(program, SYS_sendmsg) == kKilled);
    CHECK(answer(program, SYS_socket, {AF_UNIX}) == kAllowed);
    CHECK(answer(program, SYS_socket, {AF_INET}) == error(EAFNOSUPPORT));
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_UNIX}) == kKilled);
}

TEST_CASE("what starts and keeps a handler is permitted as far as it is needed") {
    std::vector<conf::BadWord> bad;
    Sandbox box;
    box.syscalls = conf::read_syscalls({"read"}, bad);
    const auto permits = [&](proc::Start start, int call) {
        return answer(syscall_filter(box, proc::own_calls(start)), call) == kAllowed;
    };
    CHECK(permits(proc::Start::direct, SYS_execveat));
    CHECK_FALSE(permits(proc::Start::direct, SYS_recvmsg));
    CHECK(permits(proc::Start::parked, SYS_recvmsg));
    CHECK_FALSE(permits(proc::Start::parked, SYS_clone));
    CHECK(permits(proc::Start::warm, SYS_clone));
    CHECK_FALSE(permits(proc::Start::warm, SYS_mount));
}

TEST_CASE("memory is writable or executable, never both") {
    const Program program = syscall_filter(with([](Sandbox& box) { box.memory_deny_write_execute = true; }));
    CHECK(answer(program, SYS_mmap, {0, 0, PROT_READ | PROT_EXEC}) == kAllowed);
    CHECK(answer(program, SYS_mmap, {0, 0, PROT_READ | PROT_WRITE}) == kAllowed);
    CHECK(answer(program, SYS_mmap, {0, 0, PROT_WRITE | PROT_EXEC}) == error(EPERM));
    CHECK(answer(program, SYS_mprotect, {0, 0, PROT_EXEC}) == error(EPERM));
    CHECK(answer(program, SYS_mprotect, {0, 0, PROT_READ | PROT_WRITE}) == kAllowed);
    CHECK(answer(program, SYS_pkey_mprotect, {0, 0, PROT_EXEC}) == error(EPERM));
    CHECK(answer(program, SYS_shmat, {0, 0, SHM_EXEC}) == error(EPERM));
    CHECK(answer(program, SYS_shmat, {0, 0, 0}) == kAllowed);
}

TEST_CASE("sockets are of the families that are permitted, and no ring opens others") {
    Sandbox box;
    box.address_families = {false, {AF_UNIX, AF_INET6}};
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_INET6}) == kAllowed);
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_NETLINK}) == error(EAFNOSUPPORT));
    CHECK(answer(syscall_filter(box), SYS_io_uring_setup) == error(EPERM));
    box.address_families = {true, {AF_PACKET}};
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_NETLINK}) == kAllowed);
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_PACKET}) == error(EAFNOSUPPORT));
    box.address_families = {false, {}};
    CHECK(answer(syscall_filter(box), SYS_socket, {AF_UNIX}) == error(EAFNOSUPPORT));
}

TEST_CASE("namespaces are refused by their flags, wherever these are") {
    Sandbox box;
    box.forbidden_namespaces = conf::all_namespaces();
    CHECK(answer(syscall_filter(box), SYS_clone, {SIGCHLD}) == kAllowed);
    CHECK(answer(syscall_filter(box), SYS_clone, {SIGCHLD | CLONE_NEWUSER}) == error(EPERM));
    CHECK(answer(syscall_filter(box), SYS_clone3) == error(ENOSYS));
    CHECK(answer(syscall_filter(box), SYS_setns, {3, CLONE_NEWNET}) == error(EPERM));
    box.forbidden_namespaces = CLONE_NEWUSER;
    CHECK(answer(syscall_filter(box), SYS_unshare, {CLONE_NEWNS}) == kAllowed);
    CHECK(answer(syscall_filter(box), SYS_unshare, {CLONE_NEWNS | CLONE_NEWUSER}) == error(EPERM));
    CHECK(answer(syscall_filter(box), SYS_setns, {3, CLONE_NEWNET}) == kAllowed);
    CHECK(answer(syscall_filter(box), SYS_setns, {3, 0}) == error(EPERM));
}

TEST_CASE("scheduling in real time is refused, the other policies are not") {
    const Program program = syscall_filter(with([](Sandbox& box) { box.restrict_realtime = true; }));
    for (const unsigned policy : {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_IDLE | SCHED_RESET_ON_FORK})
        CHECK(answer(program, SYS_sched_setscheduler, {0, policy}) == kAllowed);
    for (const unsigned policy : {SCHED_FIFO, SCHED_RR, 6, SCHED_FIFO | SCHED_RESET_ON_FORK})
        CHECK(answer(program, SYS_sched_setscheduler, {0, policy}) == error(EPERM));
    CHECK(answer(program, SYS_sched_setattr) == error(EPERM));
}

TEST_CASE("no file gets set-id bits, by whichever call") {
    const Program program = syscall_filter(with([](Sandbox& box) { box.restrict_suid_sgid = true; }));
    CHECK(answer(program, SYS_fchmod, {3, 0755}) == kAllowed);
    CHECK(answer(program, SYS_fchmod, {3, 04755}) == error(EPERM));
    CHECK(answer(program, SYS_fchmodat, {0, 0, 02755}) == error(EPERM));
    CHECK(answer(program, 452, {0, 0, 02755}) == error(EPERM));
    CHECK(answer(program, SYS_openat, {0, 0, O_CREAT, 04755}) == error(EPERM));
    CHECK(answer(program, SYS_openat, {0, 0, O_TMPFILE | O_WRONLY, 04755}) == error(EPERM));
    CHECK(answer(program, SYS_openat, {0, 0, O_CREAT, 0600}) == kAllowed);
    CHECK(answer(program, SYS_openat, {0, 0, O_RDONLY, 04755}) == kAllowed);
    CHECK(answer(program, SYS_openat, {0, 0, O_DIRECTORY, 04755}) == kAllowed);
    CHECK(answer(program, SYS_openat2) == error(ENOSYS));
    CHECK(answer(program, SYS_mknodat, {0, 0, S_IFREG | 04755}) == error(EPERM));
#ifdef SYS_open
    CHECK(answer(program, SYS_open, {0, O_CREAT, 04755}) == error(EPERM));
    CHECK(answer(program, SYS_chmod, {0, 04755}) == error(EPERM));
#endif
}

TEST_CASE("the personality can be asked for, not changed") {
    const Program program = syscall_filter(with([](Sandbox& box) { box.lock_personality = true; }));
    CHECK(answer(program, SYS_personality, {0xffffffff}) == kAllowed);
    CHECK(answer(program, SYS_personality, {PER_LINUX}) == kAllowed);
    CHECK(answer(program, SYS_personality, {READ_IMPLIES_EXEC}) == error(EPERM));
}

TEST_CASE("protect_kernel and private_devices refuse what needs no path") {
    const Program kernel = syscall_filter(with([](Sandbox& box) { box.protect_kernel = true; }));
    for (const int call : {SYS_init_module, SYS_clock_settime, SYS_syslog, SYS_sethostname})
        CHECK(answer(kernel, call) == error(EPERM));
    CHECK(answer(kernel, SYS_clock_gettime) == kAllowed);
#ifdef SYS_iopl
    const Program devices = syscall_filter(with([](Sandbox& box) { box.private_devices = true; }));
    CHECK(answer(devices, SYS_iopl) == error(EPERM));
#endif
}

TEST_CASE("a test that is too far from its target gets there all the same") {
    proc::BpfProgram program;
    const auto no = program.answer(1), yes = program.answer(2);
    auto next = no;
    for (unsigned i = 0; i < 2000; ++i) next = program.if_equal(i * 2, yes, next);
    const Program whole = program.take(program.load(offsetof(seccomp_data, nr), next));
    for (int i = 0; i < 2000; ++i) {
        CHECK(answer(whole, i * 2) == 2);
        CHECK(answer(whole, i * 2 + 1) == 1);
    }
    CHECK(whole.size() < 2100);
}

TEST_CASE("the program of strict is short") {
    const auto size = syscall_filter(conf::sandbox_of(conf::Preset::strict)).size();
    INFO(size);
    CHECK(size < 250);
}

TEST_CASE("the kernel takes the program and does as it says") {
    if (!has_filters()) {
        WARN("skipped: this kernel has no system call filters");
        return;
    }
    const Program strict = syscall_filter(conf::sandbox_of(conf::Preset::strict));
    CHECK(under(strict, [] { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0; }) == EAFNOSUPPORT);
    CHECK(under(strict, [] { return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0; }) == 0);
    CHECK(under(strict, [] { return unshare(CLONE_NEWUSER) < 0 ? errno : 0; }) == EPERM);
    CHECK(under(strict, [] {
              return mmap(nullptr, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
                         ? errno
                         : 0;
          }) == EPERM);
    CHECK(under(strict, [] { return syscall(SYS_swapoff, "/") < 0 ? errno : 0; }) == EPERM);
    CHECK(under(strict, [] { return syscall(9999) < 0 ? errno : 0; }) == ENOSYS);
    std::vector<conf::BadWord> bad;
    Sandbox kills;
    kills.syscalls = conf::read_syscalls({"~swapoff"}, bad);
    CHECK(under(syscall_filter(kills), [] { return static_cast<int>(syscall(SYS_swapoff, "/")); }) == 128 + SIGSYS);
}

}  // namespace superd::proc::syscall_filter_tests
