// SPDX-License-Identifier: MIT
#include "sys/process.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "catch.h"
#include "sys/fd.h"

namespace superd::sys::process_tests {

namespace {

/// A child that does `act` and exits when this goes.
struct Child {
    explicit Child(const std::function<void()>& act) : pid(fork()) {
        if (pid != 0) return;
        act();
        _exit(0);
    }
    ~Child() {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
    }
    void stop() const {
        REQUIRE(kill(pid, SIGSTOP) == 0);
        int status = 0;
        REQUIRE(waitpid(pid, &status, WUNTRACED) == pid);
        REQUIRE(WIFSTOPPED(status));
    }
    pid_t pid;
};

sys::ProcessView seen(pid_t pid) {
    const auto view = sys::look_at(pid);
    REQUIRE(view);
    return *view;
}

ino_t inode_of(int fd) {
    struct stat about {};
    REQUIRE(fstat(fd, &about) == 0);
    return about.st_ino;
}

}  // namespace

TEST_CASE("a stopped process shows its call, its sockets, and that it is stopped") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const Child child([&] {
        char byte;
        (void)!read(ends[0], &byte, 1);
    });
    while (seen(child.pid).threads.at(0).state != 'S') usleep(1000);
    CHECK(seen(child.pid).threads.at(0).call == -1);
    CHECK_FALSE(seen(child.pid).is_stopped());
    child.stop();
    const auto view = seen(child.pid);
    CHECK(view.whole);
    CHECK(view.is_stopped());
    CHECK(view.threads.at(0).call == SYS_read);
    CHECK_FALSE(view.children);
    CHECK(std::ranges::count(view.sockets, inode_of(ends[0])) == 1);
    CHECK(std::ranges::count(view.sockets, inode_of(ends[1])) == 1);
    close(ends[0]);
    close(ends[1]);
}

TEST_CASE("children count while they live, and not once they are zombies") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const Child child([&] {
        close(ends[1]);
        if (fork() == 0) {
            char byte;
            (void)!read(ends[0], &byte, 1);  // until this test closes its end
            _exit(0);
        }
        for (;;) pause();
    });
    close(ends[0]);
    while (!seen(child.pid).children) usleep(1000);
    close(ends[1]);
    while (seen(child.pid).children) usleep(1000);
}

TEST_CASE("a process that has ended, or never existed, is not found") {
    pid_t pid;
    {
        const Child child([] {});
        pid = child.pid;
    }
    const auto view = sys::look_at(pid);
    REQUIRE_FALSE(view);
    CHECK((view.error().code == ENOENT || view.error().code == ESRCH));
}

TEST_CASE("a line of /proc/PID/syscall is the number of a call, or why there is none") {
    CHECK(sys::call_in("288 0x0 0x1 0x2 0x3 0x4 0x5 0x7fff81771598 0x7f0976928f63\n").value() == 288);
    CHECK(sys::call_in("-1 0x7fff81771598 0x7f0976928f63\n").value() == -1);
    CHECK(sys::call_in("running\n").error().code == EAGAIN);
    for (const char* line : {"", "x", "288", "288 0x0 0x1 0x2\n", "288 0x0 0x1 0x2 0x3 0x4 0x5 0x"})
        CHECK(sys::call_in(line).error().code == EIO);
    if (sizeof(void*) == 8)
        CHECK(sys::call_in("102 0x5 0x1 0x2 0x3 0x4 0x5 0xffbfe598 0xf7f28f63\n").error().code == EOPNOTSUPP);
}

}  // namespace superd::sys::process_tests
