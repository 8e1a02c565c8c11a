// SPDX-License-Identifier: MIT
// superd-launch PATH ARGV0 [ARGUMENT…]
//
// Lives in the sandbox of a service, with everything set that its handlers need but the client. For each message with a
// connection it makes a process, which is superd's child and executes the handler. So a sandbox is entered once, not
// for each client.

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "proc/launch/message.h"
#include "proc/parked/filter.h"
#include "proc/parked/message.h"
#include "proc/raw_message.h"
#include "proc/raw_syscall.h"

namespace {

using superd::proc::raw_syscall;
using superd::proc::launch::Answer;
using superd::proc::launch::kLargest;
using superd::proc::launch::kMostVariables;
using superd::proc::launch::Order;
using superd::proc::launch::Word;

constexpr int kFilter = 3;

/// One process on its way to its exec: it runs on a stack here, in this memory, while its parent runs on.
struct Slot {
    alignas(16) char stack[8192];
    alignas(Order) char message[kLargest + 1];
    char* environment[kMostVariables];
    int connection;
    int on_its_way;  ///< the kernel clears it when the process has left this memory
};
Slot slots[64];
Slot refused;  ///< reads an order while all others are taken

char** arguments;
int channel;

template <class T>
SUPERD_CHILD inline long word(T* pointer) {
    return static_cast<long>(reinterpret_cast<std::intptr_t>(pointer));
}

/// The new process. It shares its parent's memory, errno included: raw system calls alone.
SUPERD_CHILD int begin(void* argument) {
    auto* const slot = static_cast<Slot*>(argument);
    const auto* const order = reinterpret_cast<const Order*>(slot->message);
    Answer answer;
    answer.word = Word::going;
    answer.serial = order->serial;
    answer.code = 0;
    raw_syscall(SYS_setsid);
    // Whoever superd does not hear of is served otherwise, and must not be served here.
    if (raw_syscall(SYS_sendto, channel, word(&answer), sizeof answer, MSG_NOSIGNAL, 0) < 0) return 127;
    answer.word = Word::failed;
    long r = raw_syscall(SYS_dup3, slot->connection, STDIN_FILENO, 0);
    if (r >= 0) r = raw_syscall(SYS_dup3, slot->connection, STDOUT_FILENO, 0);
    if (r >= 0 && order->errors_to_client != 0) r = raw_syscall(SYS_dup3, slot->connection, STDERR_FILENO, 0);
    const std::uint64_t none = 0;
    if (r >= 0) r = raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, word(&none), 0, sizeof none);
    if (r >= 0) r = raw_syscall(SYS_execve, word(arguments[1]), word(arguments + 2), word(slot->environment));
    answer.code = static_cast<int>(-r);
    superd::proc::send_raw(channel, &answer, sizeof answer, slot->connection, 0);
    return 127;
}

Slot* free_slot() {
    for (Slot& slot : slots)
        if (__atomic_load_n(&slot.on_its_way, __ATOMIC_ACQUIRE) == 0) return &slot;
    return nullptr;
}

void add_variables(Slot& slot, ssize_t length) {
    int count = 0;
    for (char** variable = environ; *variable != nullptr && count < kMostVariables - 1; ++variable)
        slot.environment[count++] = *variable;
    slot.message[length] = '\0';
    for (char* at = slot.message + sizeof(Order); at < slot.message + length && count < kMostVariables - 1;
         at += std::strlen(at) + 1)
        slot.environment[count++] = at;
    slot.environment[count] = nullptr;
}

bool answer(Word kind, std::uint32_t serial, int code) {
    const Answer message{kind, serial, code};
    return send(channel, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
}

/// False: superd has no more orders. `busy`: nothing can be begun now.
bool serve(Slot& slot, bool busy) {
    const ssize_t n = superd::proc::parked::receive_with_descriptor(channel, slot.message, kLargest, slot.connection);
    if (n < static_cast<ssize_t>(sizeof(Order))) return false;
    const auto serial = reinterpret_cast<const Order*>(slot.message)->serial;
    if (slot.connection < 0) return answer(Word::failed, serial, EMFILE);  // no free number for it
    if (busy) return close(slot.connection), answer(Word::failed, serial, EAGAIN);
    // Each handler has a session keyring of its own, as those that superd starts. Here it counts against the user's
    // quota, and past that superd starts the handler. Other errors: there are no kernel keys, or none are to be had.
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && (errno == EDQUOT || errno == ENOMEM)) {
        const int code = errno;
        close(slot.connection);
        return answer(Word::failed, serial, code);
    }
    add_variables(slot, n);
    __atomic_store_n(&slot.on_its_way, 1, __ATOMIC_RELEASE);
    const int pid =
        clone(begin, slot.stack + sizeof slot.stack, CLONE_VM | CLONE_PARENT | CLONE_CHILD_CLEARTID | SIGCHLD, &slot,
              nullptr, nullptr, &slot.on_its_way);
    const int code = errno;
    close(slot.connection);
    if (pid >= 0) return true;
    slot.on_its_way = 0;
    return answer(Word::failed, serial, code);
}

}  // namespace

int main(int argc, char** argv) {
    prctl(PR_SET_NAME, "superd-launch");
    // Others of its user must not take a connection from it (pidfd_getfd(2)). Where they may not read this file, the
    // kernel prevents that after the exec; executing the handler lifts it.
    prctl(PR_SET_DUMPABLE, 0);
    if (argc < 3) {
        static const char usage[] = "superd-launch: only superd starts this program\n";
        (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    arguments = argv;
    const superd::proc::parked::Filter filter(kFilter);
    channel = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);  // handlers of its user may signal it
    if (channel < 0 || !filter.install()) return errno;
    if (!answer(Word::ready, 0, 0)) return 0;
    for (;;) {
        Slot* const slot = free_slot();
        if (!serve(slot != nullptr ? *slot : refused, slot == nullptr)) return 0;
    }
}
