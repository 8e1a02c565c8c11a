// SPDX-License-Identifier: MIT
// superd-proxy: passes clients on to a backend, which it can start on demand. superd-proxy(8)

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "proxy/datagrams.h"
#include "proxy/proxy.h"

namespace proxy {
namespace {

constexpr int kOwnDescriptors = 64;  // half of them for pipes

int refuse(const std::string& why) {
    say(why);
    return kUsage;
}

int socket_option(int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(STDIN_FILENO, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

int family() {
    Address local;
    local.size = sizeof local.storage;
    return getsockname(STDIN_FILENO, local.get(), &local.size) == 0 ? local.family() : -1;
}

/// Every connection takes two descriptors, and so does a pipe. Returns how many pipes there is room for.
std::size_t fit_connections(Options& options) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Pipes::kMost;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) return Pipes::kMost;
    const auto most = static_cast<long>(std::min<rlim_t>(limit.rlim_cur, 1u << 30));
    options.connections =
        std::clamp<int>(options.connections, 1, static_cast<int>(std::max(1L, (most - kOwnDescriptors) / 2)));
    const long left = (most - kOwnDescriptors / 2) / 2 - options.connections;
    return static_cast<std::size_t>(std::clamp(left, 0L, static_cast<long>(Pipes::kMost)));
}

/// Where backends of one service take turns, by a lock.
bool has_log() {
    struct stat found {};
    return fstat(STDERR_FILENO, &found) == 0 && !(S_ISCHR(found.st_mode) && found.st_rdev == makedev(1, 3));
}

std::string why_not_shared(const Options& options) {
    if (options.start.empty() && !options.datagrams()) return "";
    const std::string what = options.start.empty() ? "sessions of datagrams need" : "--start needs";
    if (options.instances && *options.instances != 1)
        return what + " limits.instances = 1: several would not know of each other";
    if (!options.start.empty() && !has_log()) return "--start needs stderr = \"log\": the backend's output goes there";
    return "";
}

/// Takes the socket from stdin, and leaves nothing of it behind: a backend and its keeper must not have it.
Fd take_stdin() {
    const char* const pid = getenv("LISTEN_PID");
    if (pid != nullptr && atoi(pid) == getpid()) close(3);
    Fd taken(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10));
    if (!taken) return taken;
    // Alone in its open file, or shared with workers of the same kind.
    fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
    Fd nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
    int ends[2];
    if (!nothing && pipe2(ends, O_CLOEXEC) == 0) {  // a root directory without devices
        close(ends[1]);
        nothing.reset(ends[0]);
    }
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO})
        if (dup2(nothing.get(), fd) < 0) return {};
    return taken;
}

}  // namespace

int run(int argc, char** argv) {
    auto parsed = parse_options(argc, argv);
    if (!parsed) return parsed.error();
    static Options options = std::move(*parsed);
    const int type = socket_option(SO_TYPE);
    const bool listening = socket_option(SO_ACCEPTCONN) == 1;
    if (type != SOCK_STREAM && type != SOCK_DGRAM) return refuse("stdin is neither a stream nor a datagram socket");
    if ((type == SOCK_DGRAM) != options.datagrams())
        return refuse(type == SOCK_DGRAM ? "datagrams need udp:// targets"
                                         : "connections need tcp://, unix:// or vsock:// targets");
    if (type == SOCK_DGRAM && family() != AF_INET && family() != AF_INET6)
        return refuse("of datagrams, only UDP is passed on");
    if (!options.start.empty() && type == SOCK_STREAM && !listening)
        return refuse("--start needs handoff = \"listen\"");
    if (listening || type == SOCK_DGRAM)
        if (const std::string why = why_not_shared(options); !why.empty()) return refuse(why);

    signal(SIGPIPE, SIG_IGN);
    Fd socket = take_stdin();
    if (!socket) {
        say("take over stdin: " + error_text(errno));
        return EXIT_FAILURE;
    }
    Fd keeper;
    if (!options.start.empty()) {
        auto started = start_keeper(options);
        if (!started) {
            say("fork: " + error_text(started.error()));
            return EXIT_FAILURE;
        }
        keeper = std::move(*started);
    }
    // After the fork: programs that use select(2), or close all descriptors up to the limit, do not take a high one.
    const std::size_t pipes = fit_connections(options);
    static Resolver resolver(options.targets);
    if (type == SOCK_DGRAM) return Datagrams(options, resolver, std::move(keeper)).serve(std::move(socket));
    Proxy proxy(options, resolver, std::move(keeper), pipes);
    return listening ? proxy.listen(std::move(socket)) : proxy.serve_one(std::move(socket));
}

}  // namespace proxy

int main(int argc, char** argv) {
    const int status = proxy::run(argc, argv);
    fflush(stdout);
    _exit(status);  // a thread may still wait for a name service
}
