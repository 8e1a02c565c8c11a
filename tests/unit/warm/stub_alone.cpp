// SPDX-License-Identifier: MIT
// The stub without a tracer, in a process that puts it into its own memory: so it runs where nobody can trace, and on
// processors that are emulated. It shows that machine code, registers, copies and files opened anew are right there.
// Exit 0: all of it is; else a line that says what is not.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "proc/parked/message.h"
#include "warm/stub.h"

using namespace superd;
using namespace superd::proc::warm;
using superd::warm::StubData;

namespace {

void require(bool holds, const char* what) {
    if (holds) return;
    std::perror(what);
    std::exit(1);
}

constexpr unsigned long kFirst = 0x1234560000000000;
int file = -1;

}  // namespace

extern "C" void landed();
extern "C" [[noreturn]] void check(const unsigned long* registers);

#if defined(__x86_64__)
__asm__(
    "landed: pushfq\n push %rax\n push %rbx\n push %rdx\n push %rsi\n push %rdi\n push %rbp\n push %r8\n push %r9\n"
    "push %r10\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, %rdi\n and $-16, %rsp\n call check\n");
constexpr int kCount = 13;
static void fill(warm::Registers& r, unsigned long stack) {
    unsigned long value = kFirst;
    for (auto* field :
         {&r.r15, &r.r14, &r.r13, &r.r12, &r.r10, &r.r9, &r.r8, &r.rbp, &r.rdi, &r.rsi, &r.rdx, &r.rbx, &r.rax})
        *field = value++;
    r.eflags = 0x202 | 1;  // carry
    r.rsp = stack;
    r.rip = reinterpret_cast<unsigned long>(landed);
}
static bool flags_kept(unsigned long flags) {
    return (flags & 0xcd5) == 1;
}
#else
__asm__(
    "landed: sub sp, sp, #272\n stp x0, x1, [sp, #0]\n stp x2, x3, [sp, #16]\n stp x4, x5, [sp, #32]\n"
    "stp x6, x7, [sp, #48]\n stp x8, x9, [sp, #64]\n stp x10, x11, [sp, #80]\n stp x12, x13, [sp, #96]\n"
    "stp x14, x15, [sp, #112]\n stp x16, x17, [sp, #128]\n stp x18, x19, [sp, #144]\n stp x20, x21, [sp, #160]\n"
    "stp x22, x23, [sp, #176]\n stp x24, x25, [sp, #192]\n stp x26, x27, [sp, #208]\n stp x28, x29, [sp, #224]\n"
    "str x30, [sp, #240]\n mrs x0, nzcv\n str x0, [sp, #248]\n mov x0, sp\n bl check\n");
constexpr int kCount = 31;
static void fill(warm::Registers& r, unsigned long stack) {
    for (unsigned i = 0; i < kCount; ++i) r.regs[i] = kFirst + i;
    r.pstate = 0x20000000;  // carry
    r.sp = stack;
    r.pc = reinterpret_cast<unsigned long>(landed);
}
static bool flags_kept(unsigned long flags) {
    return flags == 0x20000000;
}
#endif

/// Where the program goes on: on its own stack, with stdin, stdout and its file.
extern "C" void check(const unsigned long* registers) {
    bool kept = flags_kept(registers[kCount]);
    for (int i = 0; i < kCount; ++i) kept = kept && registers[i] == kFirst + static_cast<unsigned long>(i);
    char four[5] = "", asked[16] = "", text[64];
    if (read(file, four, 4) != 4 || read(0, asked, sizeof asked - 1) <= 0) _exit(1);
    const int n = std::snprintf(text, sizeof text, "%s %s %s", kept ? "kept" : "lost", four, asked);
    _exit(write(1, text, static_cast<std::size_t>(n)) == n ? 0 : 1);
}

namespace {

[[noreturn]] void park(const sockaddr_un& tracer, unsigned length) {
    static StubData data;
    static unsigned char stack[65536];
    const auto size = static_cast<unsigned long>(__stop_warm_stub - __start_warm_stub);
    const auto target = reinterpret_cast<unsigned long>(landed);
    void* near = reinterpret_cast<void*>((target + (16UL << 20)) & ~0xffffUL);
    auto* code =
        static_cast<unsigned char*>(mmap(near, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    require(code != MAP_FAILED, "mmap");
    std::memcpy(code, __start_warm_stub, size);
    warm::set_way_back(code, reinterpret_cast<unsigned long>(code), target);
    require(mprotect(code, 65536, PROT_READ | PROT_EXEC) == 0, "mprotect");
    __builtin___clear_cache(reinterpret_cast<char*>(code), reinterpret_cast<char*>(code) + size);
    fill(data.at_call, reinterpret_cast<unsigned long>(stack + sizeof stack));
    data.tracer = tracer;
    data.tracer_length = length;
    data.dumpable = data.copies = 1;
    data.clone_flags = SIGCHLD;  // an emulator knows no CLONE_PARENT
    data.count = 1;
    data.files[0] = {file, O_RDONLY, O_CLOEXEC, 0, 4, ""};
    std::snprintf(data.files[0].path, sizeof data.files[0].path, "/proc/self/fd/%d", file);
    signal(SIGCHLD, SIG_IGN);
    const auto entry = reinterpret_cast<const unsigned char*>(&warm::stub) - __start_warm_stub;
    reinterpret_cast<void (*)(StubData*)>(code + entry)(&data);
    _exit(1);
}

void tell(int channel, Word word, int descriptor) {
    Command command{word, 5, 0};
    iovec part{&command, sizeof command};
    require(proc::parked::send_with_descriptor(channel, &part, 1, descriptor, 0) == sizeof command, "send");
}

void hear(int channel, Word word) {
    Answer answer{};
    require(recv(channel, &answer, sizeof answer, 0) == sizeof answer && answer.word == word, "answer");
}

void serve(int channel, Word word, Word answer) {
    int ends[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    tell(channel, word, ends[1]);
    close(ends[1]);
    if (answer != Word::go) hear(channel, answer);
    char text[64] = "";
    require(write(ends[0], "hello", 5) == 5, "write");
    require(read(ends[0], text, sizeof text - 1) > 0 && std::strcmp(text, "kept bbbb hello") == 0, text);
    close(ends[0]);
}

}  // namespace

int main(int, char** argv) {
    alarm(60);
    char name[] = "/tmp/superd-stub.XXXXXX", four[4];
    const int written = mkstemp(name);
    require(write(written, "aaaabbbbcccc", 12) == 12, argv[0]);
    file = open(name, O_RDONLY | O_CLOEXEC);
    unlink(name);
    require(read(file, four, 4) == 4, "read");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socklen_t length = sizeof address;
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    require(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address.sun_family) == 0, "bind");
    require(listen(listener, 1) == 0, "listen");
    require(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
    const pid_t parked = fork();
    if (parked == 0) park(address, length);
    int pair[2], fresh[2];
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fresh) == 0, "socketpair");
    const int asking = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    iovec part{four, 1};
    require(proc::parked::send_with_descriptor(asking, &part, 1, pair[1], 0) == 1, "channel");
    close(pair[1]);
    hear(pair[0], Word::parked);
    serve(pair[0], Word::copy_goes, Word::going);
    serve(pair[0], Word::copy_goes, Word::going);
    tell(pair[0], Word::copy, fresh[1]);
    close(fresh[1]);
    hear(fresh[0], Word::parked);
    serve(fresh[0], Word::go, Word::go);
    char nothing;
    require(recv(fresh[0], &nothing, 1, 0) == 0, "the copy's channel closes");
    // The template has not gone on in its file, and no copy has for it.
    serve(pair[0], Word::go, Word::go);
    int status = 1;
    require(waitpid(parked, &status, 0) == parked && status == 0, "the parked process ends with 0");
    return 0;
}
