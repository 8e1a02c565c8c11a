// SPDX-License-Identifier: MIT
#include "sys/cgroup.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.h"

namespace superd::sys::cgroup_tests {

namespace {

constexpr const char* kUnified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kHybrid =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

std::string folder(const char* cgroup, const std::string& mounts) {
    const auto found = sys::cgroup_folder(cgroup, mounts);
    return found ? *found : "error: " + found.error().text;
}

/// A group below this process's own; nothing where this process may not make one.
sys::Cgroup new_group() {
    const auto name = fmt::format("superd-unit-{}", getpid());
    for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
        const auto root = sys::Cgroup::open(mount);
        if (!root || !root->has("cgroup.procs")) continue;
        if (auto made = root->child(name, true)) return std::move(*made);
    }
    return {};
}

}  // namespace

TEST_CASE("the folder of a process's group follows from where the hierarchy is mounted") {
    CHECK(folder("0::/system.slice/superd.service\n", kUnified) == "/sys/fs/cgroup/system.slice/superd.service");
    CHECK(folder("9:name=systemd:/\n4:memory:/x\n0::/\n", kHybrid) == "/sys/fs/cgroup/unified");
    CHECK(folder("0::/a b\n", "41 31 0:38 / /mnt/c\\040g rw - cgroup2 none rw\n") == "/mnt/c g/a b");
    // A container without a namespace of its own sees its part of the hierarchy.
    CHECK(folder("0::/docker/42\n", "41 31 0:38 /docker/42 /sys/fs/cgroup ro - cgroup2 cgroup rw\n") ==
          "/sys/fs/cgroup");
    CHECK(folder("0::/docker/42/x\n", "41 31 0:38 /docker/42 /sys/fs/cgroup ro - cgroup2 cgroup rw\n") ==
          "/sys/fs/cgroup/x");
    // The last mount is the one on top.
    CHECK(folder("0::/x\n", std::string(kUnified) + "99 1 0:26 / /other rw - cgroup2 cgroup2 rw\n") == "/other/x");
}

TEST_CASE("where this process has no group of its own, the reason says why") {
    CHECK(folder("4:memory:/x\n", kHybrid) == "error: the kernel has no cgroup v2");
    CHECK(folder("0::/../x\n", kUnified) == "error: superd's cgroup is outside its cgroup namespace");
    CHECK(folder("0::/x (deleted)\n", kUnified) == "error: superd's cgroup has been removed");
    CHECK(folder("0::/docker/421\n", "41 31 0:38 /docker/42 /sys/fs/cgroup ro - cgroup2 cgroup rw\n") ==
          "error: cgroup v2 is not mounted where superd could see its own");
    CHECK(folder("0::/x\n", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\nshort - cgroup2\n\n") ==
          "error: cgroup v2 is not mounted where superd could see its own");
}

TEST_CASE("counters are found by their whole name") {
    const char* events = "low 0\nhigh 7\nmax 3\noom 1\noom_kill 2\noom_group_kill 18446744073709551615\n";
    CHECK(sys::value_in(events, "high") == 7);
    CHECK(sys::value_in(events, "oom") == 1);
    CHECK(sys::value_in(events, "oom_kill") == 2);
    CHECK(sys::value_in(events, "oom_group_kill") == UINT64_MAX);
    CHECK_FALSE(sys::value_in(events, "ma"));
    CHECK_FALSE(sys::value_in("", "max"));
    CHECK_FALSE(sys::value_in("max ten\n", "max"));
}

TEST_CASE("everybody in a group and below is killed, by the kernel and by hand, and then it can be removed") {
    for (const bool by_hand : {false, true}) {
        sys::Cgroup group = new_group();
        if (!group) SUCCEED("needs a cgroup v2 that may be written to");
        if (!group) return;
        auto below = group.child("below", true);
        REQUIRE(below);
        const pid_t child = fork();
        if (child == 0) {  // one that starts another as soon as the last has gone, and does not care for signals
            signal(SIGTERM, SIG_IGN);
            if (!below->take(0)) _exit(1);
            for (;;) {
                if (fork() == 0) usleep(1000), _exit(0);
                waitpid(-1, nullptr, 0);
            }
        }
        while (group.processes(100).empty()) usleep(1000);
        CHECK(group.is_populated());
        CHECK(group.members().empty());
        CHECK_FALSE(group.remove());
        int status = 0;
        while (waitpid(child, &status, WNOHANG) == 0) {
            CHECK(group.kill(by_hand));
            usleep(1000);
        }
        CHECK(WIFSIGNALED(status));
        while (group.is_populated()) CHECK(group.kill(by_hand));
        CHECK(group.remove());
        CHECK_FALSE(group);
    }
}

}  // namespace superd::sys::cgroup_tests
