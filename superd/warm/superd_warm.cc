// SPDX-License-Identifier: MIT
// superd-warm PATH ARGV0 [ARGUMENT…]
//
// A handler that must be ready before its client comes. Everything but the client is set already: stdin and stdout are
// a placeholder, descriptor 3 is the channel to superd with the order in it. A second process follows it from its exec
// to the first system call that touches the client, parks it there (warm/stub.h) and leaves.

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/parked/filter.h"
#include "warm/tracer.h"

namespace {

using superd::proc::warm::kChannel;
using superd::proc::warm::kFilter;
using superd::proc::warm::Obstacle;

/// The tracer. It is neither a child of the handler nor in a process group that the handler could mean by 0.
[[noreturn]] void follow(pid_t handler, int ready) {
    setsid();
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    const pid_t self = getpid();
    static superd::warm::Tracer tracer(handler, kChannel);  // too large for the stack of a handler with a small one
    // Where the kernel requires it, the handler allows this process to trace it, and then no longer waits.
    char go;
    if (write(ready, &self, sizeof self) == sizeof self && read(ready, &go, 1) == 1 && tracer.seize(ready))
        tracer.run();
    _exit(0);
}

/// Through a child that is gone when this returns, so that the handler has none.
bool start_tracer(const int (&pair)[2]) {
    const pid_t handler = getpid();
    const pid_t between = fork();
    if (between == 0) {
        const pid_t tracer = fork();
        if (tracer == 0) {
            close(pair[0]);  // so that it hears of the handler's end
            follow(handler, pair[1]);
        }
        _exit(tracer < 0 ? errno : 0);
    }
    int status = 0;
    errno = between < 0 ? errno : 0;
    if (between > 0 && waitpid(between, &status, 0) == between)
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return errno == 0;
}

}  // namespace

int main(int argc, char** argv) {
    // Others of its user must not take its channel; the file is not readable, so the kernel prevents this from the exec
    // on.
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NAME, "superd-warm");
    int pair[2];
    if (argc < 3 || fcntl(kChannel, F_GETFD) < 0) {
        static const char usage[] = "superd-warm: started by superd, not by hand\n";
        (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    fcntl(kChannel, F_SETFD, FD_CLOEXEC);
    // The tracer makes calls that a handler has no use for, so it begins without the filter.
    const superd::proc::parked::Filter filter(kFilter);
    if (superd::warm::gains_privilege(argv[1])) {
        superd::warm::tell(kChannel, Obstacle::set_id, 0, "");
        return 127;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || !start_tracer(pair)) {
        superd::warm::tell(kChannel, Obstacle::cannot_trace, errno, "");
        return 127;
    }
    close(pair[1]);
    // Only the tracer may have the channel before others can look into this process.
    close(kChannel);
    pid_t tracer = 0;
    char go = 0;
    if (read(pair[0], &tracer, sizeof tracer) != sizeof tracer) return 127;
    prctl(PR_SET_PTRACER, tracer);  // EINVAL: no Yama here
    prctl(PR_SET_DUMPABLE, 1);
    if (write(pair[0], "r", 1) != 1 || read(pair[0], &go, 1) != 1) return 127;
    close(pair[0]);
    if (!filter.install()) return errno;
    execve(argv[1], argv + 2, environ);
    return errno;
}
