// SPDX-License-Identifier: MIT
#include "proc/syscall_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>

#include "conf/sandbox_words.h"
#include "proc/bpf.h"
#include "sys/system_calls.h"

namespace superd::proc {
namespace {

using Label = BpfProgram::Label;

#if defined(__x86_64__)
constexpr std::uint32_t kProcessor = AUDIT_ARCH_X86_64;
constexpr std::uint32_t kForeign = 0x40000000;  // x32: the same processor by other numbers
#elif defined(__aarch64__)
constexpr std::uint32_t kProcessor = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kForeign = ~std::uint32_t{0};
#else
#error "superd does not know this processor's AUDIT_ARCH"
#endif

/// Number of a call that a tracer has taken back: the kernel makes none.
constexpr std::uint32_t kNone = ~std::uint32_t{0};
constexpr int kFchmodat2 = 452;  // newer than libseccomp 2.5
constexpr std::uint32_t kSetIdBits = S_ISUID | S_ISGID;
constexpr std::uint32_t kCreates = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);

/// The low half: all arguments that are judged here are of 32 bits to the kernel.
constexpr std::uint32_t argument(int index) {
    const int half = std::endian::native == std::endian::little ? 0 : 4;
    return static_cast<std::uint32_t>(offsetof(seccomp_data, args)) + static_cast<std::uint32_t>(8 * index + half);
}

class Compiler {
  public:
    Compiler(const conf::Sandbox& sandbox, std::span<const int> also) : box_(sandbox), also_(also) {}

    std::vector<sock_filter> run() {
        judge_memory();
        judge_sockets();
        judge_namespaces();
        judge_scheduling();
        judge_set_id();
        judge_personality();
        refuse_kernel();
        const Label call = by_number();
        const Label native = program_.load(offsetof(seccomp_data, nr), call);
        const Label checked = program_.if_equal(kProcessor, native, refused_);
        return program_.take(program_.load(offsetof(seccomp_data, arch), checked));
    }

  private:
    static std::uint32_t error(int code) { return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(code); }

    bool permits(int number) const {
        return box_.syscalls.permits(number) || std::ranges::find(also_, number) != also_.end();
    }

    void judge(std::string_view call, Label how) {
        if (const auto number = sys::system_call(call)) judge(*number, how);
    }
    void judge(int number, Label how) {
        if (permits(number)) judged_.insert_or_assign(number, how);
    }
    /// Refused where any of these bits is set in an argument.
    Label without_bits(int index, std::uint32_t bits) {
        return program_.load(argument(index), program_.if_any_bit(bits, eperm_, allowed_));
    }

    void judge_memory() {
        if (!box_.memory_deny_write_execute) return;
        const Label writable = program_.if_any_bit(PROT_WRITE, eperm_, allowed_);
        judge("mmap", program_.load(argument(2), program_.if_any_bit(PROT_EXEC, writable, allowed_)));
        const Label executable = without_bits(2, PROT_EXEC);
        judge("mprotect", executable);
        judge("pkey_mprotect", executable);
        judge("shmat", without_bits(2, SHM_EXEC));
    }

    void judge_sockets() {
        const conf::NumberSet& families = box_.address_families;
        if (families.permits_all()) return;
        const Label unsupported = program_.answer(error(EAFNOSUPPORT));
        const Label listed = families.all_but ? unsupported : allowed_;
        Label next = families.all_but ? allowed_ : unsupported;
        for (const int one : families.listed) next = program_.if_equal(static_cast<std::uint32_t>(one), listed, next);
        judge("socket", program_.load(argument(0), next));
        judge("io_uring_setup", eperm_);  // its rings open sockets that no filter sees
    }

    void judge_namespaces() {
        const auto flags = static_cast<std::uint32_t>(box_.forbidden_namespaces);
        if (flags == 0) return;
        const Label by_first = without_bits(0, flags);
        judge("unshare", by_first);
        judge("clone", by_first);
        judge("clone3", enosys_);  // its flags are in memory; libraries then use clone
        const Label kind = program_.if_equal(0, eperm_, program_.if_any_bit(flags, eperm_, allowed_));
        const bool all = flags == conf::all_namespaces();
        judge("setns", all ? eperm_ : program_.load(argument(1), kind));
    }

    void judge_scheduling() {
        if (!box_.restrict_realtime) return;
        Label next = eperm_;
        for (const int policy : {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE})
            next = program_.if_equal(static_cast<std::uint32_t>(policy), allowed_, next);
        judge("sched_setscheduler", program_.load(argument(1), program_.mask(~SCHED_RESET_ON_FORK, next)));
        judge("sched_setattr", eperm_);  // its policy is in memory
    }

    void judge_set_id() {
        if (!box_.restrict_suid_sgid) return;
        const Label second = without_bits(1, kSetIdBits), third = without_bits(2, kSetIdBits);
        for (const char* call : {"chmod", "fchmod", "creat", "mknod"}) judge(call, second);
        for (const char* call : {"fchmodat", "mknodat"}) judge(call, third);
        judge(kFchmodat2, third);
        judge("open", program_.load(argument(1), program_.if_any_bit(kCreates, third, allowed_)));
        const Label fourth = without_bits(3, kSetIdBits);
        judge("openat", program_.load(argument(2), program_.if_any_bit(kCreates, fourth, allowed_)));
        judge("openat2", enosys_);  // its mode is in memory; programs then use openat
        judge("io_uring_setup", eperm_);
    }

    void judge_personality() {
        if (!box_.lock_personality) return;
        constexpr std::uint32_t question = 0xffffffff;
        const Label asks = program_.if_equal(question, allowed_, eperm_);
        judge("personality", program_.load(argument(0), program_.if_equal(0, allowed_, asks)));
    }

    void refuse_group(std::string_view group) {
        for (const int number : conf::syscalls_of(group)) judge(number, eperm_);
    }

    void refuse_kernel() {
        if (box_.private_devices) refuse_group("@raw-io");
        if (!box_.protect_kernel) return;
        refuse_group("@module");
        refuse_group("@clock");
        for (const char* call : {"syslog", "_sysctl", "sethostname", "setdomainname"}) judge(call, eperm_);
    }

    struct Range {
        std::uint32_t from;
        Label how;
    };

    Label how(int number) const {
        const auto found = judged_.find(number);
        if (found != judged_.end()) return found->second;
        return permits(number) ? allowed_ : refused_;
    }

    Label by_number() {
        const auto& listed = box_.syscalls.listed;
        int last = std::max(conf::latest_syscall(), listed.empty() ? 0 : listed.back());
        if (!judged_.empty()) last = std::max(last, judged_.rbegin()->first);
        for (const int one : also_) last = std::max(last, one);
        std::vector<Range> ranges;
        const auto add = [&](std::uint32_t from, Label how) {
            if (ranges.empty() || ranges.back().how != how) ranges.push_back({from, how});
        };
        for (int number = 0; number <= last; ++number) add(static_cast<std::uint32_t>(number), how(number));
        // Programs that try a call of tomorrow's kernels do without where it does not exist.
        add(static_cast<std::uint32_t>(last) + 1, box_.syscalls.all_but ? allowed_ : enosys_);
        if (kForeign != kNone) add(kForeign, refused_);
        add(kNone, allowed_);
        return search(ranges);
    }

    Label search(std::span<const Range> ranges) {
        if (ranges.size() == 1) return ranges[0].how;
        const std::size_t half = ranges.size() / 2;
        const Label high = search(ranges.subspan(half));
        const Label low = search(ranges.first(half));
        return program_.if_at_least(ranges[half].from, high, low);
    }

    const conf::Sandbox& box_;
    std::span<const int> also_;
    BpfProgram program_;
    // Last in the program, so that most of it reaches them.
    const Label enosys_ = program_.answer(error(ENOSYS));
    const Label eperm_ = program_.answer(error(EPERM));
    const Label refused_ =
        program_.answer(box_.syscall_error != 0 ? error(box_.syscall_error) : SECCOMP_RET_KILL_PROCESS);
    const Label allowed_ = program_.answer(SECCOMP_RET_ALLOW);
    std::map<int, Label> judged_;
};

// The child after its filter; sendmsg and write give the connection back if the exec fails.
constexpr std::array kDirect{"execve", "execveat", "exit", "exit_group", "sendmsg", "write", "clock_gettime"};
// superd-exec, which installs it before it waits.
constexpr std::array kParked{"close", "dup2", "dup3", "fcntl", "recvmsg"};
// warm/stub.cc, and what the tracer has the handler call.
constexpr std::array kWarm{"clone",   "close",          "connect", "dup3",   "exit_group",      "fcntl",
                           "getpid",  "lseek",          "mmap",    "munmap", "openat",          "prctl",
                           "recvmsg", "rt_sigprocmask", "sendto",  "setsid", "set_robust_list", "socket"};

}  // namespace

std::vector<int> own_calls(Start start) {
    std::vector<int> numbers;
    const auto add = [&](std::span<const char* const> names) {
        for (const char* name : names)
            if (const auto number = sys::system_call(name)) numbers.push_back(*number);
    };
    add(kDirect);
    if (start == Start::parked) add(kParked);
    if (start == Start::warm) add(kWarm);
    std::ranges::sort(numbers);
    numbers.erase(std::ranges::unique(numbers).begin(), numbers.end());
    return numbers;
}

std::vector<sock_filter> syscall_filter(const conf::Sandbox& sandbox, std::span<const int> also) {
    return sandbox.needs_filter() ? Compiler(sandbox, also).run() : std::vector<sock_filter>();
}

}  // namespace superd::proc
