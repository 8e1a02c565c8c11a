// SPDX-License-Identifier: MIT
// superd-exec PATH ARGV0 [ARGUMENT…]
//
// A parked process: everything that a handler needs is set except its client. It waits on stdin for one message with
// the connection, then becomes the handler. If the pair closes without a message, it exits.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "proc/parked/filter.h"
#include "proc/parked/message.h"

namespace {

using superd::proc::parked::Errors;
using superd::proc::parked::Failure;
using superd::proc::parked::Filter;
using superd::proc::parked::kLargest;

constexpr int kFilter = 3;
constexpr int kMostVariables = 1024;
char message[kLargest + 1];
char* environment[kMostVariables];

[[noreturn]] void give_up(int pair, int connection, int code) {
    Failure failure{code};
    iovec part{&failure, sizeof failure};
    superd::proc::parked::send_with_descriptor(pair, &part, 1, connection, 0);
    _exit(127);
}

}  // namespace

int main(int argc, char** argv) {
    // It was started by descriptor, so the kernel names it only after the descriptor's number.
    prctl(PR_SET_NAME, "superd-exec");
    // Others of its user must not take the connection from it (pidfd_getfd(2)). Where they may not read this file, the
    // kernel prevents that after the exec; executing the handler lifts it.
    prctl(PR_SET_DUMPABLE, 0);
    if (argc < 3) {
        static const char usage[] = "superd-exec: only superd starts this program\n";
        (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    if (!Filter(kFilter).install()) return 127;
    int connection = -1;
    const ssize_t length = superd::proc::parked::receive_with_descriptor(STDIN_FILENO, message, kLargest, connection);
    if (connection < 0) return 0;
    const int pair = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    if (pair < 0) return 127;

    int count = 0;
    for (char** variable = environ; *variable != nullptr && count < kMostVariables - 1; ++variable)
        environment[count++] = *variable;
    for (char* at = message + 1; at < message + length && count < kMostVariables - 1; at += std::strlen(at) + 1)
        environment[count++] = at;

    if (dup2(connection, STDIN_FILENO) < 0 || dup2(connection, STDOUT_FILENO) < 0) give_up(pair, connection, errno);
    if (message[0] == static_cast<char>(Errors::socket) && dup2(connection, STDERR_FILENO) < 0)
        give_up(pair, connection, errno);
    execve(argv[1], argv + 2, environment);
    give_up(pair, connection, errno);
}
