// SPDX-License-Identifier: MIT
#include "admit/admission.h"

#include <malloc.h>

#include <cstdlib>
#include <new>

#include "catch.h"

namespace {

std::size_t allocated = 0;  ///< bytes, by all of this program

}  // namespace

void* operator new(std::size_t size) {
    void* memory = std::malloc(size);
    if (memory == nullptr) throw std::bad_alloc();
    allocated += malloc_usable_size(memory);
    return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    void* memory = std::malloc(size);
    allocated += memory != nullptr ? malloc_usable_size(memory) : 0;
    return memory;
}
void operator delete(void* memory) noexcept {
    allocated -= malloc_usable_size(memory);
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    operator delete(memory);
}

namespace superd::admit::admission_tests {

using namespace std::chrono_literals;

namespace {

admit::SourceKey source(std::uint32_t number) {
    admit::SourceKey key;
    key.kind = admit::SourceKey::Kind::ipv6;
    for (int i = 0; i < 4; ++i) key.bytes[std::size_t(4 + i)] = std::uint8_t(number >> (8 * i));
    return key;
}

const admit::SourceKey kNobody;
const Instant kStart = Instant{} + 1000s;

conf::Limits limits(int instances) {
    conf::Limits all;
    all.instances = instances;
    return all;
}

}  // namespace

TEST_CASE("a charge gives its place back exactly once, wherever it is moved") {
    admit::Admission admission;
    admission.configure(limits(2), kStart);
    {
        admit::Charge a = admission.charge(kNobody, kStart);
        admit::Charge b = admission.charge(kNobody, kStart);
        CHECK_FALSE(admission.has_room());
        admit::Charge moved = std::move(a);
        CHECK(admission.in_use() == 2);
        b = {};
        CHECK(admission.in_use() == 1);
        CHECK(admission.has_room());
    }
    CHECK(admission.in_use() == 0);
}

TEST_CASE("limits that change while there are clients count these clients") {
    admit::Admission admission;
    auto all = limits(3);
    all.per_source = 2;
    admission.configure(all, kStart);
    auto a = admission.charge(source(1), kStart);
    auto b = admission.charge(source(1), kStart);
    CHECK(admission.refuses(source(1), kStart) == admit::Refusal::per_source);
    all.instances = 1;
    all.per_source = 3;
    admission.configure(all, kStart);
    CHECK_FALSE(admission.has_room());
    CHECK_FALSE(admission.refuses(source(1), kStart));
    a = {};
    CHECK_FALSE(admission.has_room());
    b = {};
    CHECK(admission.has_room());
    CHECK(admission.sources().size() == 0);
}

TEST_CASE("per_source counts each source separately") {
    admit::Admission admission;
    auto all = limits(100);
    all.per_source = 1;
    admission.configure(all, kStart);
    auto a = admission.charge(source(1), kStart);
    CHECK(admission.refuses(source(1), kStart) == admit::Refusal::per_source);
    CHECK_FALSE(admission.refuses(source(2), kStart));
    a = {};
    CHECK_FALSE(admission.refuses(source(1), kStart));
}

TEST_CASE("a rate lets its burst through, then one each interval, and is full again after burst intervals") {
    admit::Admission admission;
    auto all = limits(100);
    all.rate = conf::Rate{100ms, 3};
    admission.configure(all, kStart);
    Instant time = kStart;
    for (int i = 0; i < 3; ++i) {
        CHECK(admission.rate_opens_at() <= time);
        (void)admission.charge(kNobody, time);
    }
    CHECK(admission.rate_opens_at() == time + 100ms);
    time += 100ms;
    CHECK(admission.rate_opens_at() <= time);
    (void)admission.charge(kNobody, time);
    CHECK(admission.rate_opens_at() == time + 100ms);
    time += 300ms;
    for (int i = 0; i < 3; ++i) {
        CHECK(admission.rate_opens_at() <= time);
        (void)admission.charge(kNobody, time);
    }
    CHECK(admission.rate_opens_at() > time);
}

TEST_CASE("a failed start gives its tokens back as well as its place") {
    admit::Admission admission;
    auto all = limits(3);
    all.per_source = 2;
    all.rate = conf::Rate{1s, 2};
    all.per_source_rate = conf::Rate{1s, 2};
    admission.configure(all, kStart);
    const auto other = admission.charge(source(1), kStart);
    auto failed = admission.charge(source(1), kStart);
    REQUIRE(admission.rate_opens_at() == kStart + 1s);
    REQUIRE(admission.refuses(source(1), kStart) == admit::Refusal::per_source);
    std::move(failed).undo();
    // As it was with the other alone: its place and its tokens are not given back as well.
    CHECK(admission.in_use() == 1);
    CHECK(admission.sources().find(source(1))->in_use == 1);
    CHECK(admission.rate_opens_at() == kStart);
    CHECK(admission.source_opens_at(source(1)) == kStart);
    CHECK_FALSE(admission.refuses(source(1), kStart));
    std::move(failed).undo();  // there is nothing left to give back
    CHECK(admission.in_use() == 1);
    CHECK(admission.rate_opens_at() == kStart);
    const auto next = admission.charge(source(1), kStart);
    CHECK(admission.in_use() == 2);
    CHECK(admission.rate_opens_at() == kStart + 1s);
    CHECK(admission.source_opens_at(source(1)) == kStart + 1s);
}

TEST_CASE("per_source_rate outlives the source's handlers, and the source is forgotten once its bucket is full") {
    admit::Admission admission;
    auto all = limits(100);
    all.per_source_rate = conf::Rate{1s, 2};
    admission.configure(all, kStart);
    (void)admission.charge(source(1), kStart);
    (void)admission.charge(source(1), kStart);
    CHECK(admission.refuses(source(1), kStart) == admit::Refusal::per_source_rate);
    CHECK(admission.source_opens_at(source(1)) == kStart + 1s);
    CHECK_FALSE(admission.refuses(source(1), kStart + 1s));
    CHECK(admission.sources().size() == 1);
    for (std::uint32_t i = 0; i < 10; ++i) (void)admission.charge(source(2 + i), kStart + 10s + i * 10s);
    CHECK(admission.sources().find(source(1)) == nullptr);
}

TEST_CASE("handshakes that come to nothing have a rate of their own, which outlives the source's clients") {
    admit::Admission admission;
    auto all = limits(100);
    admission.configure(all, kStart);
    for (int i = 0; i < 9; ++i) admission.unfinished(source(1), kStart);
    CHECK(admission.may_shake(source(1), kStart, 0));  // there is no rate
    all.per_source_rate = conf::Rate{1s, 2};
    admission.configure(all, kStart);
    for (int i = 0; i < 9; ++i) admission.unfinished(source(1), kStart);
    CHECK_FALSE(admission.may_shake(source(1), kStart, 0));
    CHECK_FALSE(admission.refuses(source(1), kStart));
    CHECK(admission.may_shake(source(2), kStart, 0));
    admit::Admission next;
    next.configure(all, kStart);
    next.remember(admission.memory());
    CHECK_FALSE(next.may_shake(source(1), kStart, 0));
    CHECK_FALSE(next.may_shake(source(1), kStart + 7s, 0));
    CHECK(next.may_shake(source(1), kStart + 8s, 0));
    CHECK_FALSE(next.may_shake(source(1), kStart + 8s, 1));  // which will take that token
    CHECK(next.may_shake(source(1), kStart + 9s, 1));
    CHECK(next.may_shake(source(2), kStart + 8s, 64));  // of whom nothing bad is known
    for (int i = 0; i < 1000; ++i) next.unfinished(source(1), kStart + 8s);
    CHECK(next.may_shake(source(1), kStart + 8s + 66s, 0));  // however many there were
    for (std::uint32_t i = 0; i < 10; ++i) (void)next.charge(source(2 + i), kStart + 100s + i * 10s);
    CHECK(next.sources().find(source(1)) == nullptr);
}

TEST_CASE("100,000 sources stay under the table's ceiling, and those with clients are never forgotten") {
    const std::size_t before = allocated;
    admit::Admission admission;
    auto all = limits(1000000);
    all.per_source = 1;
    all.per_source_rate = conf::Rate{3600s, 10};
    admission.configure(all, kStart);
    auto kept = admission.charge(source(1), kStart);
    for (std::uint32_t i = 2; i < 100002; ++i) (void)admission.charge(source(i), kStart);
    CHECK(admission.sources().size() <= admit::Sources::kMost);
    CHECK(admission.sources().size() > admit::Sources::kMost / 2);
    CHECK(allocated - before < admit::Sources::kCeiling);
    CHECK(allocated - before > admit::Sources::kMost * sizeof(admit::Source) / 2);  // so it is counted
    CHECK(admission.refuses(source(1), kStart) == admit::Refusal::per_source);
}

TEST_CASE("rotating through addresses does not wipe out the record of an address that used up its share") {
    admit::Admission admission;
    auto all = limits(1000000);
    all.per_source_rate = conf::Rate{3600s, 5};
    admission.configure(all, kStart);
    for (int i = 0; i < 5; ++i) (void)admission.charge(source(1), kStart);
    REQUIRE(admission.refuses(source(1), kStart) == admit::Refusal::per_source_rate);
    for (std::uint32_t i = 2; i < 500002; ++i) (void)admission.charge(source(i), kStart);
    CHECK(admission.refuses(source(1), kStart) == admit::Refusal::per_source_rate);
}

TEST_CASE("a shorter rate after a reload shuts nobody out for longer than itself") {
    admit::Admission admission;
    auto all = limits(10);
    all.rate = conf::Rate{3600s, 1};
    admission.configure(all, kStart);
    (void)admission.charge(kNobody, kStart);
    all.rate = conf::Rate{1s, 1};
    admission.configure(all, kStart);
    CHECK(admission.rate_opens_at() <= kStart + 1s);
}

}  // namespace superd::admit::admission_tests
