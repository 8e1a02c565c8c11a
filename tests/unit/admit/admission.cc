// SPDX-License-Identifier: MIT
#include "admit/admission.h"

#include "catch.h"

using namespace superd;

TEST_CASE("a charge gives its place back once, wherever it was moved") {
    admit::Admission admission;
    conf::Limits limits;
    limits.instances = 2;
    admission.configure(limits);
    {
        admit::Charge a = admission.charge();
        admit::Charge b = admission.charge();
        CHECK_FALSE(admission.has_room());
        admit::Charge moved = std::move(a);
        CHECK(admission.in_use() == 2);
        b = {};
        CHECK(admission.in_use() == 1);
        CHECK(admission.has_room());
    }
    CHECK(admission.in_use() == 0);
}

TEST_CASE("a lowered limit counts the handlers that are there") {
    admit::Admission admission;
    conf::Limits limits;
    limits.instances = 3;
    admission.configure(limits);
    auto a = admission.charge(), b = admission.charge();
    limits.instances = 1;
    admission.configure(limits);
    CHECK_FALSE(admission.has_room());
    a = {};
    CHECK_FALSE(admission.has_room());
    b = {};
    CHECK(admission.has_room());
}
