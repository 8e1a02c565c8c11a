// SPDX-License-Identifier: MIT
// What sources earn, how it runs off, and whose record is kept when there are too many.
#include "admit/penalties.h"

#include "admit/admission.h"
#include "admit/everywhere.h"
#include "catch.h"

namespace superd::admit::penalties_tests {

using namespace std::chrono_literals;

namespace {

const Instant kStart = Instant{} + 1000s;

conf::Penalty rules() {
    conf::Penalty all;
    all.on = true;
    return all;
}

sys::IpBytes address(const char* text) {
    return *sys::ip_bytes(*sys::Address::inet(text, 0));
}

admit::SourceKey source(std::uint32_t number) {
    admit::SourceKey key;
    key.kind = admit::SourceKey::Kind::ipv4;
    for (int i = 0; i < 4; ++i) key.bytes[std::size_t(i)] = std::uint8_t(number >> (8 * i));
    return key;
}

}  // namespace

TEST_CASE("penalties add up, run off with time, and refuse only above the threshold and only until they are below it") {
    admit::Debt debt;
    for (int i = 0; i < 3; ++i) debt.add(10s, rules(), kStart);
    CHECK(debt.left(kStart) == 30s);
    CHECK_FALSE(debt.is_refused(kStart));  // 30 s are not above 30 s
    CHECK(debt.left(kStart + 12s) == 18s);
    debt.add(20s, rules(), kStart + 12s);
    CHECK(debt.left(kStart + 12s) == 38s);
    CHECK(debt.refused_until == kStart + 20s);
    CHECK(debt.is_refused(kStart + 20s - 1us));
    CHECK_FALSE(debt.is_refused(kStart + 20s));
    CHECK(debt.left(kStart + 49s) == 1s);
    CHECK(debt.left(kStart + 51s) == 0s);
}

TEST_CASE("a penalty does not grow while its source is refused, and is never above max") {
    admit::Debt debt;
    debt.add(40s, rules(), kStart);
    const auto before = debt;
    debt.add(40s, rules(), kStart + 1s);
    CHECK(debt.runs_off_at == before.runs_off_at);
    CHECK(debt.refused_until == kStart + 10s);
    debt.add(1h, rules(), kStart + 10s);
    CHECK(debt.left(kStart + 10s) == 10min);
    CHECK(debt.refused_until == kStart + 10s + 10min - 30s);
}

TEST_CASE("each offence costs what its key says, and nothing without [penalty]") {
    conf::Penalty all = rules();
    CHECK(admit::cost(all, admit::Offence::failed) == 10s);
    CHECK(admit::cost(all, admit::Offence::crashed) == 20s);
    CHECK(admit::cost(all, admit::Offence::refused) == 5s);
    CHECK(admit::cost(all, admit::Offence::touched) == 0s);
    all.touched = 3s;
    CHECK(admit::cost(all, admit::Offence::touched) == 3s);
    all.on = false;
    for (const auto what :
         {admit::Offence::failed, admit::Offence::crashed, admit::Offence::refused, admit::Offence::touched})
        CHECK(admit::cost(all, what) == 0s);
}

TEST_CASE("100,000 other sources, each with a client and a smaller penalty, do not wipe out a penalty") {
    admit::Admission admission;
    admission.penalise(source(1), 40s, rules(), kStart);
    std::size_t most = 0;
    for (std::uint32_t i = 2; i < 100'002; ++i) {
        admission.penalise(source(i), 5s, rules(), kStart);
        if (i % 3 == 0) (void)admission.charge(source(i), kStart);
        most = std::max(most, admission.sources().size());
    }
    CHECK(most <= admit::Sources::kMost);
    REQUIRE(admission.debt(source(1)) != nullptr);
    CHECK(admission.debt(source(1))->is_refused(kStart));
    CHECK(admission.sources().refused(kStart) == 1);
}

TEST_CASE("sources whose bucket is empty give way to one that is penalised") {
    admit::Admission admission;
    conf::Limits limits;
    limits.per_source_rate = conf::Rate{1h, 1};
    admission.configure(limits, kStart);
    admission.penalise(source(1), 40s, rules(), kStart);
    for (std::uint32_t i = 2; i < 100'002; ++i) (void)admission.charge(source(i), kStart);
    REQUIRE(admission.debt(source(1)) != nullptr);
    CHECK(admission.debt(source(1))->is_refused(kStart));
}

TEST_CASE("a penalty that has run off leaves nothing behind") {
    admit::Admission admission;
    for (std::uint32_t i = 1; i <= 1000; ++i) admission.penalise(source(i), 5s, rules(), kStart);
    CHECK(admission.sources().size() == 1000);
    for (std::uint32_t i = 2001; i <= 2500; ++i) admission.penalise(source(i), 5s, rules(), kStart + 6s);
    CHECK(admission.sources().size() <= 500);
    admission.penalise(source(1), 0s, rules(), kStart + 20s);
    CHECK(admission.debt(source(1)) == nullptr);
}

TEST_CASE("a source with a client keeps its penalty when the client goes") {
    admit::Admission admission;
    auto charge = admission.charge(source(1), kStart);
    admission.penalise(source(1), 40s, rules(), kStart + 1s);
    charge = {};
    REQUIRE(admission.debt(source(1)) != nullptr);
    CHECK(admission.debt(source(1))->is_refused(kStart + 1s));
}

TEST_CASE("penalties continue in another process") {
    admit::Admission before, after;
    auto charge = before.charge(source(1), kStart);
    before.penalise(source(1), 40s, rules(), kStart);
    before.penalise(source(2), 7s, rules(), kStart);
    after.remember(before.memory());
    auto again = after.recharge(source(1));
    CHECK(after.debt(source(1))->refused_until == kStart + 10s);
    CHECK(after.debt(source(2))->left(kStart) == 7s);
    CHECK(after.sources().find(source(1))->in_use == 1);
}

TEST_CASE("what counts everywhere stands against all addresses of the source that earned it, and against no other") {
    admit::Everywhere everywhere;
    const auto find = [&](const char* text) {
        return everywhere.find(admit::key_of(address(text), 32), address(text));
    };
    CHECK(find("10.0.0.1") == nullptr);
    everywhere.add(admit::key_of(address("10.0.0.1"), 24), 40s, rules(), kStart);
    everywhere.add(admit::key_of(address("10.0.9.0"), 32), 50s, rules(), kStart);
    everywhere.add(admit::key_of(address("fd00:0:0:5::1"), 64), 60s, rules(), kStart);
    everywhere.add({admit::SourceKey::Kind::uid, {7}}, 70s, rules(), kStart);
    REQUIRE(find("10.0.0.200") != nullptr);
    CHECK(find("10.0.0.200")->refused_until == kStart + 10s);
    CHECK(find("10.0.1.1") == nullptr);
    CHECK(find("10.0.9.0")->refused_until == kStart + 20s);
    CHECK(find("10.0.9.1") == nullptr);
    CHECK(find("fd00:0:0:5:6::9")->refused_until == kStart + 30s);
    CHECK(find("fd00:0:0:6::1") == nullptr);
    CHECK(everywhere.find({admit::SourceKey::Kind::uid, {7}}, std::nullopt)->refused_until == kStart + 40s);
    CHECK(everywhere.find({admit::SourceKey::Kind::uid, {8}}, std::nullopt) == nullptr);
    CHECK(everywhere.refused(kStart) == 4);
    CHECK(everywhere.refused(kStart + 25s) == 2);
    // Of two that stand against it, the worse.
    everywhere.add(admit::key_of(address("10.0.0.1"), 32), 90s, rules(), kStart);
    CHECK(find("10.0.0.1")->refused_until == kStart + 60s);

    admit::Everywhere after;
    after.remember(everywhere.memory(kStart + 15s));
    CHECK(after.size() == 5);
    CHECK(after.find(admit::key_of(address("10.0.9.0"), 32), address("10.0.9.0"))->refused_until == kStart + 20s);
    CHECK(after.find(admit::key_of(address("10.0.0.1"), 16), address("10.0.0.1"))->refused_until == kStart + 60s);
}

TEST_CASE("100,000 sources that are penalised everywhere take a bounded table, and the worst stay") {
    admit::Everywhere everywhere;
    everywhere.add(source(1), 9min, rules(), kStart);
    for (std::uint32_t i = 2; i < 100'002; ++i) everywhere.add(source(i), 35s, rules(), kStart);
    CHECK(everywhere.size() <= admit::Sources::kMost);
    CHECK(everywhere.refused(kStart + 1min) == 1);
}

}  // namespace superd::admit::penalties_tests
