// SPDX-License-Identifier: MIT
#include "web/host.h"

#include "catch.h"

namespace web::host_tests {

TEST_CASE("Addresses and localhost are always this host, whatever the port") {
    for (const char* host : {"127.0.0.1", "127.0.0.1:7091", "192.0.2.7:80", "[::1]", "[::1]:7091", "[2001:db8::1]:8080",
                             "localhost", "LocalHost:7091", "localhost."})
        CHECK(is_own_host(host, {}));
}

TEST_CASE("Any other name is another host until it is named") {
    for (const char* host : {"", "example.org", "localhost.example.org", "127.0.0.1.example.org", "127.1", "0x7f000001",
                             "[::1", "[example.org]", "::1", "127.0.0.1:80:80", "127.0.0.1:x",
                             "localhost:80@example.org", "[::1]x", "[fe80::1%25lo]", "127.0.0.1:123456"})
        CHECK_FALSE(is_own_host(host, {}));
    CHECK(is_own_host("Status.Example.org:443", {"status.example.org"}));
    CHECK_FALSE(is_own_host("x.status.example.org", {"status.example.org"}));
}

}  // namespace web::host_tests
