// SPDX-License-Identifier: MIT
#include "sys/descriptors.h"

#include <fcntl.h>
#include <unistd.h>

#include "catch.h"

namespace superd::sys::descriptors_tests {

TEST_CASE("a descriptor that is not what the state says is found out, and each goes to one owner") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    sys::Descriptors before;
    CHECK(before.keep(ends[0]) == ends[0]);
    CHECK(before.keep(-1) == -1);
    sys::Descriptors after(before.entries());
    CHECK(after.check());
    CHECK_FALSE(after.sound());
    {
        const sys::Fd claimed = after.claim(ends[0]);
        CHECK(claimed.get() == ends[0]);
        CHECK(after.sound());
        CHECK_FALSE(after.claim(ends[0]));
        CHECK_FALSE(after.sound());
    }
    const int other = open("/dev/null", O_RDONLY);
    REQUIRE(dup2(other, ends[0]) == ends[0]);
    CHECK_FALSE(sys::Descriptors(before.entries()).check());
    for (const int fd : {other, ends[0], ends[1]}) close(fd);
    CHECK_FALSE(sys::Descriptors(before.entries()).check());
}

}  // namespace superd::sys::descriptors_tests
