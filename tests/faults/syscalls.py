# SPDX-License-Identifier: MIT
"""The errors with which each system call of superd is made to fail. A call that a trace finds and that is missing here
fails the test, so that a new one gets its entry."""

import re


class Faults:
    """`errnos`: the most telling first. `only`: strace's line must match it, otherwise the hit was a use of the call
    that the kernel does not fail so, and does not count. `own`: why the one client that the call was for may be lost,
    if strace's line matches `takes`. `why`: why there is no errno; the call is then only delayed. `sanitized`: may it
    fail where AddressSanitizer makes the call as well?"""

    def __init__(self, *errnos, only=None, own="", takes="", why="", delay=True, sanitized=True):
        assert errnos or why
        self.errnos, self.own, self.why, self.delay, self.sanitized = errnos, own, why, delay, sanitized
        self.only = re.compile(only) if only else None
        self.takes = re.compile(takes)

    def counts(self, line):
        return self.only is None or self.only.search(line) is not None

    def takes_client(self, line):
        return bool(self.own) and "INJECTED" in line and self.takes.search(line) is not None


DESCRIPTORS = ("EMFILE", "ENFILE", "ENOMEM")
NEVER = Faults(why="fails for wrong arguments alone")
ASKS = Faults(why="cannot fail")
RUNTIME = Faults(why="of the C library's or the sanitizer's own, which handle it or end the process", delay=False)

TABLE = {
    # clients
    "accept4": Faults("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EINTR", "EPERM"),
    "recvmsg": Faults("ENOMEM", "EINTR", "EAGAIN", "ECONNREFUSED",
                      own="of a connection on its way back from an exec that failed",
                      takes=r"\(\d+<UNIX"),
    "recvfrom": Faults("ECONNRESET", "EINTR", "EAGAIN", own="its connection is what is said to be broken",
                       takes="ECONNRESET"),
    "sendmsg": Faults("EAGAIN", "ENOBUFS", "ENOMEM", "EPERM", "EPIPE"),
    "sendto": Faults("EPIPE", "EAGAIN", "ECONNRESET", own="its connection is what is said to be broken"),
    "shutdown": Faults("ENOTCONN"),
    "getsockname": Faults("ENOBUFS"),
    "getsockopt": Faults("ENOMEM", "ENOBUFS"),
    "poll": Faults("EINTR", "ENOMEM"),
    "memfd_create": Faults(*DESCRIPTORS),
    "pwrite64": Faults("ENOSPC", "ENOMEM", "EINTR"),
    "sysinfo": NEVER, "getgroups": NEVER,
    "setfsuid": ASKS, "setfsgid": ASKS, "geteuid": ASKS, "getegid": ASKS, "getpid": ASKS, "getuid": ASKS,
    "getgid": ASKS, "gettid": ASKS, "getppid": ASKS,
    # children
    "clone": Faults("EAGAIN", "ENOMEM"),
    "clone3": Faults("EAGAIN", "ENOMEM", "ENOSYS", "ENODEV"),
    "getpgid": Faults("ESRCH"),
    "wait4": Faults("EINTR"), "waitid": Faults("EINTR"),
    "kill": Faults("ESRCH", "EPERM"),
    "pidfd_send_signal": Faults("ESRCH"),
    "pidfd_open": Faults("EMFILE", "ENFILE", "ENOMEM", "ESRCH"),
    "setns": Faults("ENOMEM", "EPERM", "ESRCH"),
    "capget": NEVER,
    "socketpair": Faults(*DESCRIPTORS),
    "pipe2": Faults("EMFILE", "ENFILE", only="O_CLOEXEC"),  # UBSan makes others
    "fcntl": Faults("EMFILE", only="F_DUPFD"),
    "execve": Faults("ENOMEM", "EACCES", "ENOENT", "ETXTBSY", "EMFILE"),
    "sched_yield": ASKS,
    # listeners
    "socket": Faults("EMFILE", "ENFILE", "ENOBUFS", "EACCES", "EAFNOSUPPORT"),
    "bind": Faults("EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOMEM"),
    "listen": Faults("EADDRINUSE"),
    "getpeername": Faults("ENOTCONN", "ENOBUFS"),
    "inotify_init1": Faults(*DESCRIPTORS),
    "inotify_add_watch": Faults("ENOSPC", "ENOMEM"), "inotify_rm_watch": NEVER,
    "bpf": Faults("EPERM", "EMFILE", "ENOMEM"),
    "connect": Faults("ECONNREFUSED", "EAGAIN", "EACCES"),
    "setsockopt": Faults("ENOMEM", "EPERM", "ENOPROTOOPT"),
    "setitimer": NEVER, "rt_sigaction": NEVER, "rt_sigprocmask": NEVER, "rt_sigreturn": RUNTIME,
    "umask": ASKS,
    # the loop
    "epoll_create1": Faults(*DESCRIPTORS),
    "epoll_ctl": Faults("ENOMEM", "ENOSPC", only="EPOLL_CTL_ADD"),
    "epoll_wait": Faults("EINTR"), "epoll_pwait2": Faults("EINTR"),  # libsystemd's, by its version
    "eventfd2": Faults(*DESCRIPTORS),
    "signalfd4": Faults(*DESCRIPTORS, only=r"\(-1"),  # the others change one
    "timerfd_create": Faults(*DESCRIPTORS),
    "timerfd_settime": NEVER,
    "clock_gettime": NEVER,
    "clock_nanosleep": Faults("EINTR"), "nanosleep": Faults("EINTR"),
    "restart_syscall": RUNTIME,
    # files
    "openat": Faults("EMFILE", "ENFILE", "ENOMEM", "EACCES", "ENOENT", "EIO"),
    "open": Faults("EMFILE", "ENFILE", "ENOMEM", "EACCES", "ENOENT", "EIO"),
    "openat2": Faults("EMFILE", "ENOSYS", "EPERM", "EAGAIN"),
    "read": Faults("EINTR", "EIO", only=r"EINTR|conf\.d|superd\.toml|/etc/"),
    "pread64": Faults("EINTR", "EIO"),
    "write": Faults("EPIPE", "EAGAIN", "EINTR", "ENOSPC", "EIO", only=r"\((2|\d+</[^>]*)[<>]"),  # and not UBSan's pipes
    "close": Faults(why="closes whatever it returns, which strace cannot do"),
    "close_range": Faults("ENOSYS", "EPERM"),
    "dup": Faults("EMFILE"), "dup2": Faults("EBUSY"), "dup3": Faults("EBUSY"),
    "fstat": Faults("EIO", "ENOMEM"),
    "newfstatat": Faults("EACCES", "EIO", "ENOENT", "ENOMEM"),
    "lstat": Faults("EACCES", "EIO", "ENOENT"), "stat": Faults("EACCES", "EIO", "ENOENT"),
    "statx": Faults("EACCES", "EIO", "ENOENT"),
    "statfs": Faults("ENOSYS", "EIO"),
    "access": Faults("EACCES", "ENOENT"), "faccessat": Faults("EACCES", "ENOENT"),
    "faccessat2": Faults("EACCES", "ENOENT"),
    "getxattr": Faults("EOPNOTSUPP", "ENODATA"),
    "getdents64": Faults("EIO", "ENOMEM"),
    "lseek": Faults("ESPIPE"),
    "readlink": Faults("EACCES", "ENOENT"), "readlinkat": Faults("EACCES", "ENOENT"),
    "getcwd": Faults("ENOENT", "ENOMEM"),
    "chdir": Faults("EACCES", "EIO"),
    "mkdir": Faults("EROFS", "ENOSPC", "EACCES"), "rmdir": Faults("EBUSY", "EROFS"),
    "mkdirat": Faults("ENOSPC", "ENOMEM", "EACCES"), "unlinkat": Faults("EBUSY"),
    "unlink": Faults("EROFS", "EACCES", "EBUSY", "ENOENT"),
    "rename": Faults("EROFS", "ENOSPC"),
    "chmod": Faults("EPERM", "EROFS"), "fchmod": Faults("EPERM", "EROFS"), "fchmodat": Faults("EPERM", "EROFS"),
    "fchown": Faults("EPERM"), "fchownat": Faults("EPERM"),
    "ftruncate": Faults("EIO"),
    "ioctl": Faults("ENOTTY", "EPERM", "EMFILE"),
    # memory and the process itself
    "mmap": Faults("ENOMEM", sanitized=False),
    "munmap": Faults("ENOMEM", sanitized=False),
    "mprotect": Faults("ENOMEM", sanitized=False),
    "mremap": Faults("ENOMEM", sanitized=False),
    "brk": Faults(why="tells it by the old break, which strace cannot return"),
    "prlimit64": Faults("EPERM", only=r"RLIMIT_\w+, \{"), "getrlimit": Faults("EFAULT"), "setrlimit": Faults("EPERM"),
    "sysconf": ASKS, "uname": NEVER, "getrusage": NEVER,
    "setsid": Faults("EPERM"),
    "madvise": RUNTIME, "futex": RUNTIME, "arch_prctl": RUNTIME, "set_tid_address": RUNTIME,
    "set_robust_list": RUNTIME, "rseq": RUNTIME, "getrandom": RUNTIME, "sigaltstack": RUNTIME, "prctl": RUNTIME,
    "sched_getaffinity": RUNTIME, "personality": RUNTIME, "tgkill": RUNTIME,
    "exit_group": RUNTIME, "exit": RUNTIME, "membarrier": RUNTIME, "sysfs": RUNTIME,
}
