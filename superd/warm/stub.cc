// SPDX-License-Identifier: MIT
// Runs inside the handler, on a stack of its own with all signals blocked, from the handler's first call that touches
// its client until that call is made again. Uses only raw system calls and general registers.
#include "warm/stub.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cerrno>

namespace superd::warm {
namespace {

#define SUPERD_STUB SUPERD_CHILD __attribute__((section("warm_stub"), flatten))

using proc::raw_syscall;
using proc::warm::Answer;
using proc::warm::Command;
using proc::warm::Word;

template <class T>
[[gnu::always_inline]] static inline long word(T* pointer) {
    return reinterpret_cast<long>(pointer);
}

[[noreturn, gnu::always_inline]] static inline void leave(int status) {
    for (;;) raw_syscall(SYS_exit_group, status);
}

/// Of whom superd does not hear it serves the client otherwise; a second answer must not come from here.
[[gnu::always_inline]] static inline void answer(int channel, Word kind, unsigned serial, long code) {
    const Answer message{kind, serial, static_cast<int>(code)};
    if (raw_syscall(SYS_sendto, channel, word(&message), sizeof message, MSG_NOSIGNAL, 0) < 0) leave(127);
}

/// One message and the descriptor with it, or -1. Returns what recvmsg(2) does.
[[gnu::always_inline]] static inline long receive(int from, void* data, unsigned long size, int& descriptor) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        cmsghdr header;
    } control;
    control.header.cmsg_type = 0;
    iovec part;
    part.iov_base = data;
    part.iov_len = size;
    msghdr message;
    message.msg_name = nullptr;
    message.msg_namelen = 0;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    message.msg_flags = 0;
    long n;
    do n = raw_syscall(SYS_recvmsg, from, word(&message), MSG_CMSG_CLOEXEC);
    while (n == -EINTR);
    const bool passed = n > 0 && message.msg_controllen >= CMSG_LEN(sizeof(int)) &&
                        control.header.cmsg_level == SOL_SOCKET && control.header.cmsg_type == SCM_RIGHTS;
    descriptor = passed ? *reinterpret_cast<int*>(CMSG_DATA(&control.header)) : -1;
    return n;
}

/// All processes that inherit an open file share its offset, so a copy opens its files again.
[[gnu::always_inline]] static inline long reopen(const StubData* data) {
    for (unsigned i = 0; i < data->count; ++i) {
        const Reopened* file = &data->files[i];
        const long fd = raw_syscall(SYS_openat, AT_FDCWD, word(file->path), file->flags | O_CLOEXEC);
        if (fd < 0) return fd;
        long r = raw_syscall(SYS_lseek, fd, file->offset, SEEK_SET);
        if (r >= 0) r = raw_syscall(SYS_dup3, fd, file->fd, file->close_on_exec);
        raw_syscall(SYS_close, fd);
        if (r < 0) return r;
    }
    return 0;
}

/// Replaces the placeholder, on which the program may have set FD_CLOEXEC.
[[gnu::always_inline]] static inline long replace(int connection, int fd) {
    const long r = raw_syscall(SYS_fcntl, fd, F_GETFD);
    return raw_syscall(SYS_dup3, connection, fd, r > 0 && (r & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
}

/// The connection becomes stdin and stdout, and nothing of superd's remains.
[[noreturn, gnu::always_inline]] static inline void go(StubData* data, int connection, const Command& command) {
    long r = replace(connection, 0);
    if (r >= 0) r = replace(connection, 1);
    if (r >= 0 && command.errors_to_client != 0) r = replace(connection, 2);
    if (r < 0) {
        if (data->channel >= 0) answer(data->channel, Word::failed, command.serial, -r);
        leave(127);
    }
    raw_syscall(SYS_close, connection);
    if (data->channel >= 0) raw_syscall(SYS_close, data->channel);
    raw_syscall(SYS_prctl, PR_SET_DUMPABLE, data->dumpable);
    if (data->stays != 0) raw_syscall(SYS_close, data->tracing);
    resume(&data->at_call, &data->mask);
}

/// The copy is a child of superd, as the template is. True: in the copy, which owns `data` from now on.
[[gnu::always_inline]] static inline bool copy(StubData* data, int descriptor, const Command& command) {
    const long pid = copy_process(data->clone_flags, data->tid_address);
    if (pid != 0) {
        if (pid < 0) answer(data->channel, Word::failed, command.serial, -pid);
        raw_syscall(SYS_close, descriptor);
        return false;
    }
    const int told = command.word == Word::copy ? descriptor : data->channel;
    if (command.word == Word::copy) raw_syscall(SYS_close, data->channel);
    raw_syscall(SYS_setsid);
    if (data->robust_size != 0) raw_syscall(SYS_set_robust_list, data->robust_list, data->robust_size);
    const long r = reopen(data);
    answer(told, r < 0 ? Word::failed : command.word == Word::copy ? Word::parked : Word::going, command.serial, -r);
    if (r < 0) leave(127);
    if (command.word == Word::copy_goes) raw_syscall(SYS_close, data->channel);
    data->channel = command.word == Word::copy ? descriptor : -1;
    return true;
}

}  // namespace

SUPERD_STUB void stub(StubData* data) {
    data->tracing = static_cast<int>(raw_syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (raw_syscall(SYS_connect, data->tracing, word(&data->tracer), data->tracer_length) < 0) leave(127);
    char nothing;
    if (receive(data->tracing, &nothing, 1, data->channel) <= 0 || data->channel < 0) leave(127);
    if (data->stays == 0) raw_syscall(SYS_close, data->tracing);
    // A number for its client, which stays free, since nothing else runs here.
    const long number = raw_syscall(SYS_fcntl, data->channel, F_DUPFD_CLOEXEC, 0);
    if (number < 0) leave(127);
    raw_syscall(SYS_close, number);
    answer(data->channel, Word::parked, 0, 0);
    for (;;) {
        Command command;
        int descriptor;
        const long n = receive(data->channel, &command, sizeof command, descriptor);
        if (n <= 0) leave(0);  // superd releases it
        const bool copies = command.word == Word::copy || command.word == Word::copy_goes;
        long wrong = 0;
        if (n != sizeof command || (!copies && command.word != Word::go) || (copies && data->copies == 0))
            wrong = EINVAL;
        else if (descriptor < 0)
            wrong = EMFILE;  // no free number for it
        if (wrong != 0) {
            answer(data->channel, Word::failed, command.serial, wrong);
            if (descriptor >= 0) raw_syscall(SYS_close, descriptor);
        } else if (!copies || (copy(data, descriptor, command) && command.word == Word::copy_goes)) {
            go(data, descriptor, command);
        }
    }
}

}  // namespace superd::warm
