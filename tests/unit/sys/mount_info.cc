// SPDX-License-Identifier: MIT
#include "sys/mount_info.h"

#include <string>

#include "catch.h"

namespace superd::sys::mount_info_tests {

namespace {

/// A pod's: a config map, the pod's /etc/hosts and /run from the same disk, a secret, and something of another machine.
constexpr const char* kPod =
    "700 600 0:50 / / ro,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w\n"
    "701 700 8:1 /kubelet/pods/7/volumes/config/conf /etc/superd/conf.d ro,relatime - ext4 /dev/sda1 rw\n"
    "702 700 8:1 /kubelet/pods/7/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"
    "703 700 8:1 /kubelet/pods/7/volumes/empty/run /run rw,relatime - ext4 /dev/sda1 rw\n"
    "704 700 0:60 / /etc/superd/with\\040space ro,relatime - tmpfs tmpfs rw\n"
    "705 700 0:61 /far /etc/superd/far ro,relatime - nfs4 there:/far rw\n"
    "706 700 0:62 / /srv rw,relatime - squashfs /dev/loop0 ro\n";

}  // namespace

TEST_CASE("what is mounted read-only, and nowhere writable, is sealed") {
    CHECK(is_sealed(kPod, 701, "/etc/superd/conf.d"));
    CHECK(is_sealed(kPod, 701, "/etc/superd/conf.d/..2026_11/echo.toml"));
    CHECK(is_sealed(kPod, 704, "/etc/superd/with space/key"));
    CHECK(is_sealed(kPod, 706, "/srv/x"));
    CHECK_FALSE(is_sealed(kPod, 703, "/run/superd"));
    CHECK_FALSE(is_sealed(kPod, 702, "/etc/hosts"));
}

TEST_CASE("where others may have another way to it, it is not sealed") {
    CHECK_FALSE(is_sealed(kPod, 700, "/etc/superd"));      // the layers below
    CHECK_FALSE(is_sealed(kPod, 705, "/etc/superd/far"));  // another machine
    CHECK_FALSE(is_sealed(kPod, 701, "/etc/superd/conf.data"));
    CHECK_FALSE(is_sealed(kPod, 799, "/etc/superd/conf.d"));
    for (const char* root : {"/", "/kubelet/pods/7", "/kubelet/pods/7/volumes/config/conf"}) {
        const std::string other = std::string("710 700 8:1 ") + root + " /mnt rw - ext4 /dev/sda1 rw\n";
        CHECK_FALSE(is_sealed(kPod + other, 701, "/etc/superd/conf.d"));
    }
    const std::string beside = "710 700 8:1 /kubelet/pods/7/volumes/config/conf2 /mnt rw - ext4 /dev/sda1 rw\n";
    CHECK(is_sealed(kPod + beside, 701, "/etc/superd/conf.d"));
    const std::string within = "710 700 8:1 /kubelet/pods/7/volumes/config/conf/x /mnt rw - ext4 /dev/sda1 rw\n";
    CHECK_FALSE(is_sealed(kPod + within, 701, "/etc/superd/conf.d/x/echo.toml"));
}

TEST_CASE("a table that is not one seals nothing") {
    for (const char* table : {"", "701", "701 700 8:1 / /a ro -", "x 700 8:1 / /a ro - ext4 /dev/sda1 rw"})
        CHECK_FALSE(is_sealed(table, 701, "/a"));
}

TEST_CASE("a mode of 0777 is not sealed where one can write") {
    CHECK_FALSE(is_sealed("/tmp"));
}

}  // namespace superd::sys::mount_info_tests
