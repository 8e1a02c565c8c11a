// SPDX-License-Identifier: MIT
#include "control/peer.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "catch.h"
#include "sys/fd.h"

namespace superd::control::peer_tests {

namespace {

/// An abstract socket that this process listens on, and the peer that it has accepted.
class Server {
  public:
    Server() : listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        at_.sun_family = AF_UNIX;
        REQUIRE(bind(listener_.get(), address(), sizeof(sa_family_t)) == 0);  // any name
        REQUIRE(getsockname(listener_.get(), address(), &size_) == 0);
        REQUIRE(listen(listener_.get(), 8) == 0);
    }
    /// Connects from the process to ask about, which stays until the server has gone.
    int connect_from_here() {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return connect(fd, address(), size_) == 0 ? fd : -1;
    }
    struct Client {
        sys::Fd fd;
        pid_t pid;
    };
    Client accept_one() {
        Client client{sys::Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)), 0};
        ucred peer{};
        socklen_t size = sizeof peer;
        REQUIRE(getsockopt(client.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
        client.pid = peer.pid;
        return client;
    }

  private:
    sockaddr* address() { return reinterpret_cast<sockaddr*>(&at_); }
    sys::Fd listener_;
    sockaddr_un at_{};
    socklen_t size_ = sizeof at_;
};

}  // namespace

TEST_CASE("children, their children, and processes that these leave behind are descendants") {
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    Server server;
    int start[2];
    REQUIRE(pipe(start) == 0);
    const pid_t child = fork();
    if (child == 0) {
        server.connect_from_here();
        if (fork() == 0) {
            server.connect_from_here();
            for (;;) pause();
        }
        for (;;) pause();
    }
    const auto first = server.accept_one(), second = server.accept_one();
    const pid_t grandchild = first.pid == child ? second.pid : first.pid;
    CHECK(control::is_descendant(first.fd.get(), first.pid));
    CHECK(control::is_descendant(second.fd.get(), second.pid));
    const auto& of_grandchild = first.pid == grandchild ? first : second;
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    CHECK(control::is_descendant(of_grandchild.fd.get(), grandchild));
    // A process that has gone cannot be identified: its number may belong to any process.
    kill(grandchild, SIGKILL);
    REQUIRE(waitpid(grandchild, nullptr, 0) == grandchild);
    CHECK(control::is_descendant(of_grandchild.fd.get(), grandchild));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("a parent is not a descendant") {
    Server server;
    const pid_t child = fork();
    if (child == 0) {
        const auto client = server.accept_one();
        _exit(control::is_descendant(client.fd.get(), client.pid) ? 1 : 0);
    }
    const sys::Fd ours(server.connect_from_here());
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("a pid that now belongs to another process is not trusted") {
    Server server;
    const pid_t child = fork();
    if (child == 0) {
        server.connect_from_here();
        _exit(0);
    }
    const auto client = server.accept_one();
    REQUIRE(waitpid(child, nullptr, 0) == child);
    int pidfd = -1;
    errno = 0;
    socklen_t size = sizeof pidfd;
    getsockopt(client.fd.get(), SOL_SOCKET, 77, &pidfd, &size);
    const bool told = errno != ENOPROTOOPT;
    if (pidfd >= 0) close(pidfd);
    if (told) CHECK(control::is_descendant(client.fd.get(), getppid()));  // as if it were its own number
}

}  // namespace superd::control::peer_tests
