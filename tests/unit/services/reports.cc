// SPDX-License-Identifier: MIT
#include "lib/reports.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "catch.h"

namespace worker::reports_tests {

TEST_CASE("No alarm comes for reports that have gone") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    itimerval left{};
    const auto before = signal(SIGALRM, SIG_IGN);
    {
        Reports reports(ends[0]);
        for (int i = 0; i < 2; ++i) reports.idle();  // the second one waits
    }
    REQUIRE(getitimer(ITIMER_REAL, &left) == 0);
    CHECK(left.it_value.tv_usec == 0);
    signal(SIGALRM, before);
    for (const int fd : ends) close(fd);
}

}  // namespace worker::reports_tests
