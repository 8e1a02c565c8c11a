// SPDX-License-Identifier: MIT
// A handler that reports what it finds: ids, descriptors, signals, limits, environment, one fact on each line. Static,
// so that it runs inside any root directory; it uses only system calls, not /proc.
//
//   --accept FD   take connections from the listening socket FD and report to each of them
//   --receive FD  take datagrams from the socket FD and report to the sender of each
//   --idle MS     with --receive: exit when nothing has come for that long
//   --hold        after the report, wait until the client closes
//   --ignore SIG  ignore a signal, by number
//   --stderr TEXT write TEXT to stderr first
//   --exit CODE   end with this status
// Other words are only reported.

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace {

const char* kind_of(mode_t mode) {
    if (S_ISSOCK(mode)) return "socket";
    if (S_ISFIFO(mode)) return "pipe";
    if (S_ISCHR(mode)) return "character";
    if (S_ISREG(mode)) return "file";
    if (S_ISDIR(mode)) return "directory";
    return "other";
}

std::string describe_descriptors() {
    std::string text;
    struct rlimit limit {};
    getrlimit(RLIMIT_NOFILE, &limit);
    const int last = limit.rlim_cur > 65536 ? 65536 : static_cast<int>(limit.rlim_cur);
    for (int fd = 0; fd < last; ++fd) {
        const int flags = fcntl(fd, F_GETFD);
        if (flags < 0) continue;
        struct stat state {};
        fstat(fd, &state);
        text += "fd " + std::to_string(fd) + " " + kind_of(state.st_mode) + " ino=" + std::to_string(state.st_ino);
        text += (flags & FD_CLOEXEC) != 0 ? " cloexec" : " kept";
        text += (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 ? " nonblocking" : " blocking";
        int value = 0;
        socklen_t size = sizeof value;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0) text += " listening";
        text += "\n";
    }
    return text;
}

std::string describe_signals() {
    std::string blocked, ignored, caught;
    sigset_t mask;
    sigprocmask(SIG_SETMASK, nullptr, &mask);
    for (int number = 1; number < NSIG; ++number) {
        if (sigismember(&mask, number) == 1) blocked += " " + std::to_string(number);
        struct sigaction action {};
        if (sigaction(number, nullptr, &action) != 0) continue;
        if (action.sa_handler == SIG_IGN) {
            ignored += " " + std::to_string(number);
        } else if (action.sa_handler != SIG_DFL) {
            caught += " " + std::to_string(number);
        }
    }
    return "blocked" + blocked + "\nignored" + ignored + "\ncaught" + caught + "\n";
}

std::string limit_text(rlim_t value) {
    return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

std::string describe_limits() {
    const std::pair<const char*, __rlimit_resource_t> all[] = {
        {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},     {"as", RLIMIT_AS},
        {"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},         {"data", RLIMIT_DATA},
        {"fsize", RLIMIT_FSIZE},   {"memlock", RLIMIT_MEMLOCK}, {"stack", RLIMIT_STACK},
    };
    std::string text;
    for (const auto& [name, resource] : all) {
        struct rlimit limit {};
        getrlimit(resource, &limit);
        text +=
            std::string("rlimit ") + name + " " + limit_text(limit.rlim_cur) + " " + limit_text(limit.rlim_max) + "\n";
    }
    return text;
}

std::string report(char** argv, char** envp) {
    uid_t real = 0, effective = 0, saved = 0;
    gid_t real_group = 0, effective_group = 0, saved_group = 0;
    getresuid(&real, &effective, &saved);
    getresgid(&real_group, &effective_group, &saved_group);
    std::string text;
    const auto fact = [&text](const char* name, const auto&... values) {
        text += name;
        ((text += " " + std::to_string(values)), ...);
        text += "\n";
    };
    fact("pid", getpid());
    fact("ppid", getppid());
    fact("sid", getsid(0));
    fact("pgrp", getpgrp());
    fact("uid", real, effective, saved);
    fact("gid", real_group, effective_group, saved_group);
    std::vector<gid_t> groups(65536);
    const int count = getgroups(static_cast<int>(groups.size()), groups.data());
    text += "groups";
    for (int i = 0; i < count; ++i) text += " " + std::to_string(groups[static_cast<std::size_t>(i)]);
    text += "\n";
    const mode_t mask = umask(0);
    umask(mask);
    char octal[16];
    std::snprintf(octal, sizeof octal, "umask %03o\n", static_cast<unsigned>(mask));
    text += octal;
    fact("nice", getpriority(PRIO_PROCESS, 0));
    fact("scheduler", sched_getscheduler(0));
    char directory[4096];
    text += std::string("cwd ") + (getcwd(directory, sizeof directory) != nullptr ? directory : "?") + "\n";
    for (char** word = argv; *word != nullptr; ++word) text += std::string("arg ") + *word + "\n";
    for (char** word = envp; *word != nullptr; ++word) text += std::string("env ") + *word + "\n";
    text += describe_descriptors();
    text += describe_signals();
    text += describe_limits();
    text += "end\n";
    return text;
}

void write_all(int fd, const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t written = write(fd, text.data() + done, text.size() - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        done += static_cast<std::size_t>(written);
    }
}

void wait_for_end(int fd) {
    char buffer[4096];
    ssize_t size = 0;
    do {
        size = read(fd, buffer, sizeof buffer);
    } while (size > 0 || (size < 0 && errno == EINTR));
}

void serve_datagrams(int fd, int idle, char** argv, char** envp) {
    struct pollfd ready {
        fd, POLLIN, 0
    };
    while (poll(&ready, 1, idle) > 0) {
        char buffer[65536];
        struct sockaddr_storage sender {};
        socklen_t size = sizeof sender;
        if (recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<struct sockaddr*>(&sender), &size) < 0) return;
        const std::string text = report(argv, envp);
        sendto(fd, text.data(), text.size(), 0, reinterpret_cast<struct sockaddr*>(&sender), size);
    }
}

}  // namespace

int main(int argc, char** argv, char** envp) {
    int listener = -1, datagrams = -1, idle = -1, code = 0;
    bool hold = false;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const char* next = i + 1 < argc ? argv[i + 1] : "0";
        if (word == "--accept") listener = std::atoi(next);
        if (word == "--receive") datagrams = std::atoi(next);
        if (word == "--idle") idle = std::atoi(next);
        if (word == "--hold") hold = true;
        if (word == "--ignore") std::signal(std::atoi(next), SIG_IGN);
        if (word == "--stderr") write_all(2, next);
        if (word == "--exit") code = std::atoi(next);
    }
    if (datagrams >= 0) {
        serve_datagrams(datagrams, idle, argv, envp);
        return code;
    }
    if (listener < 0) {
        write_all(1, report(argv, envp));
        if (hold) wait_for_end(0);
        return code;
    }
    for (;;) {
        const std::string text = report(argv, envp);  // before the connection adds a descriptor
        const int client = accept(listener, nullptr, nullptr);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            return 1;
        }
        write_all(client, text);
        if (hold) wait_for_end(client);
        close(client);
    }
}
