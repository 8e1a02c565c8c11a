// SPDX-License-Identifier: MIT
#include "sys/address.h"

#include <sys/un.h>

#include <string>
#include <utility>

#include "catch.h"

namespace superd::sys::address_tests {

TEST_CASE("an address keeps its value when it is copied and moved, however long it is") {
    for (const std::string& path : {std::string("/run/x"), "/" + std::string(sizeof(sockaddr_un::sun_path) - 2, 'x'),
                                    "@" + std::string(sizeof(sockaddr_un::sun_path) - 1, 'a')}) {
        const Address one = *Address::local(path);
        CHECK(one.host() == path);
        Address two = one;
        CHECK(two == one);
        Address three = std::move(two);
        CHECK(three.host() == path);
        CHECK(two.family() == AF_UNSPEC);
        two = three;
        CHECK(two == one);
        two = *Address::inet("::1", 80);
        CHECK(two.text() == "[::1]:80");
        CHECK_FALSE(two == three);
        three = Address();
        CHECK(three.host().empty());
    }
}

}  // namespace superd::sys::address_tests
