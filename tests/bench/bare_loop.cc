// SPDX-License-Identifier: MIT
// bare_loop ADDRESS PORT HANDLER: only what a super-server cannot do without: accept4, vfork, dup2, dup2, execve. Port
// 0 takes a free one. Prints "listening PORT".

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace {

int listen_on(const char* host, int port) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<in_port_t>(port));
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<struct sockaddr*>(&address);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(listener, generic, size) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, generic, &size) != 0) {
        std::perror(host);
        std::exit(1);
    }
    std::printf("listening %d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return listener;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fputs("usage: bare_loop ADDRESS PORT HANDLER\n", stderr);
        return 2;
    }
    std::signal(SIGCHLD, SIG_IGN);
    const int listener = listen_on(argv[1], std::atoi(argv[2]));
    char* const words[] = {argv[3], nullptr};
    char* const environment[] = {nullptr};
    for (;;) {
        const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            std::perror("accept4");
            return 1;
        }
        const pid_t child = vfork();
        if (child == 0) {
            dup2(client, 0);
            dup2(client, 1);
            execve(argv[3], words, environment);
            _exit(127);
        }
        close(client);
    }
}
