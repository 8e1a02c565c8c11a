// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "unit/conf/folder.h"

namespace superd::conf::limits_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

/// Errors in [limits] with these lines, which begin at line 5.
std::string limits_errors(const std::string& text) {
    return errors_of("[limits]\n" + text);
}

Limits limits(const std::string& text) {
    return service_of("[limits]\n" + text).limits;
}

std::string definition(const std::string& listen, const std::string& model) {
    return "listen = \"" + listen + "\"\nmodel = \"" + model + "\"\nexec = [\"handler\"]\n";
}

}  // namespace

TEST_CASE("every limit sets what it names") {
    Limits expected;
    expected.instances = 20;
    expected.per_source = 4;
    expected.rate = {10ms, 500};
    expected.per_source_rate = {2s, 30};
    expected.source_prefix_ipv4 = 24;
    expected.source_prefix_ipv6 = 0;
    expected.max_load = 3.5;
    expected.on_excess = Excess::reject;
    expected.reject_text = "busy\r\n";
    expected.wait_timeout = 5s;
    CHECK(limits("instances = 20\nper_source = 4\nrate = \"100/s\"\nburst = 500\nper_source_rate = \"30/m\"\n"
                 "source_prefix_ipv4 = 24\nsource_prefix_ipv6 = 0\nmax_load = 3.5\non_excess = \"reject\"\n"
                 "reject_text = \"busy\\r\\n\"\nwait_timeout = \"5s\"") == expected);
    CHECK(limits("max_load = 8").max_load == 8.0);
    CHECK(limits("on_excess = \"reset\"").on_excess == Excess::reset);
    CHECK(limits("on_excess = \"close\"").on_excess == Excess::close);
    CHECK(limits("wait_timeout = \"1h\"").wait_timeout == 1h);
}

TEST_CASE("a rate is a number in a unit of time, and its burst is that number unless set") {
    CHECK(limits("rate = \"10/h\"").rate == Rate{6min, 10});
    CHECK(limits("rate = \"5/d\"").rate == Rate{288min, 5});
    CHECK(limits("rate = \"1000000/s\"").rate == Rate{1us, 1'000'000});
    CHECK(limits("rate = \"3/s\"").rate == Rate{333333us, 3});
    CHECK(limits("per_source_rate = \"30/m\"\nper_source_burst = 5").per_source_rate == Rate{2s, 5});

    const std::string form = " is not a rate: write a whole number per s, m, h or d, such as \"100/s\"\n";
    for (const std::string wrong :
         {"x", "", "/s", "100/", "100/w", "100/ms", "100/ s", "1.5/s", "-1/s", "1/5s", "1/5"}) {
        INFO(wrong);
        CHECK(limits_errors("rate = \"" + wrong + "\"") == "5:8: limits.rate \"" + wrong + "\"" + form);
    }
    CHECK(limits_errors("rate = \"0/s\"") == "5:8: limits.rate \"0/s\" is out of range 1 to 1000000\n");
    CHECK(limits_errors("per_source_rate = \"1000001/s\"") ==
          "5:19: limits.per_source_rate \"1000001/s\" is out of range 1 to 1000000\n");
    CHECK(limits_errors("rate = \"99999999999999999999/s\"") ==
          "5:8: limits.rate \"99999999999999999999/s\" is out of range 1 to 1000000\n");
    CHECK(limits_errors("rate = 100") ==
          "5:8: limits.rate 100 has no unit: write a rate with its unit, such as \"100/s\"\n");
    CHECK(limits_errors("rate = \"100\"") ==
          "5:8: limits.rate \"100\" has no unit: write a rate with its unit, such as \"100/s\"\n");
    CHECK(limits_errors("rate = true") == "5:8: limits.rate: expected a rate such as \"100/s\", found true or false\n");
}

TEST_CASE("a burst needs its rate") {
    CHECK(limits_errors("burst = 5") == "5:9: limits.burst has no effect without limits.rate\n");
    CHECK(limits_errors("rate = \"1/s\"\nper_source_burst = 5") ==
          "6:20: limits.per_source_burst has no effect without limits.per_source_rate\n");
    CHECK(limits_errors("rate = \"1/x\"\nburst = 5").starts_with("5:8: "));  // and no more
    CHECK(limits_errors("rate = \"1/s\"\nburst = 0") == "6:9: limits.burst 0 is out of range 1 to 1000000\n");
}

TEST_CASE("limits have ranges, and the message shows them") {
    CHECK(limits_errors("per_source = 0") == "5:14: limits.per_source 0 is out of range 1 to 1000000\n");
    CHECK(limits_errors("source_prefix_ipv4 = 33") == "5:22: limits.source_prefix_ipv4 33 is out of range 0 to 32\n");
    CHECK(limits_errors("source_prefix_ipv6 = 129") ==
          "5:22: limits.source_prefix_ipv6 129 is out of range 0 to 128\n");
    CHECK(limits_errors("wait_timeout = \"0s\"") == "5:16: limits.wait_timeout \"0s\" is out of range 1us to 1h\n");
    CHECK(limits_errors("wait_timeout = \"61m\"") == "5:16: limits.wait_timeout \"61m\" is out of range 1us to 1h\n");
    CHECK(limits_errors("wait_timeout = 5") ==
          "5:16: limits.wait_timeout 5 has no unit: write a duration with its unit, such as \"5s\"\n");
    CHECK(limits_errors("on_excess = \"rest\"") ==
          "5:13: limits.on_excess \"rest\" is not one of queue, close, reset, reject (did you mean \"reset\"?)\n");
    CHECK(limits_errors("max_load = 0") == "5:12: limits.max_load 0 is not a finite number above 0\n");
    CHECK(limits_errors("max_load = -1.5") == "5:12: limits.max_load -1.5 is not a finite number above 0\n");
    CHECK(limits_errors("max_load = inf") == "5:12: limits.max_load inf is not a finite number above 0\n");
    CHECK(limits_errors("max_load = nan") == "5:12: limits.max_load nan is not a finite number above 0\n");
    CHECK(limits_errors("max_load = \"4\"") == "5:12: limits.max_load: expected a number above 0, found a string\n");
}

TEST_CASE("a rejected client gets a text, and nobody else does") {
    const std::string reject = "on_excess = \"reject\"\n";
    const std::string needs = "5:13: limits.on_excess \"reject\" needs a reject_text to send to clients\n";
    CHECK(limits(reject + "reject_text = \"" + std::string(4096, 'x') + "\"").reject_text.size() == 4096);
    CHECK(limits("reject_text = \"\"").reject_text.empty());
    CHECK(limits_errors(reject) == needs);
    CHECK(limits_errors(reject + "reject_text = \"\"") == needs);
    CHECK(limits_errors(reject + "reject_text = \"" + std::string(4097, 'x') + "\"")
              .starts_with("6:15: limits.reject_text is longer than 4096 bytes"));
    CHECK(limits_errors("on_excess = \"close\"\nreject_text = \"x\"") ==
          "6:15: limits.reject_text has no effect without on_excess = \"reject\"\n");
}

TEST_CASE(
    "if the handler has the listening socket, limits that need to see clients are refused, each with the reason") {
    const std::string text =
        "[limits]\ninstances = 5\nmax_load = 2\nper_source = 1\nrate = \"1/s\"\nburst = 1\n"
        "per_source_rate = \"1/s\"\nper_source_burst = 1\nsource_prefix_ipv4 = 24\nsource_prefix_ipv6 = 56\n"
        "wait_timeout = \"1s\"\nreject_text = \"x\"\non_excess = \"reject\"\n[access]\non_deny = \"reset\"\n";
    const auto expected = [](const std::string& why) {
        std::string out;
        int line = 7;  // from the third limit on
        for (const char* key :
             {"14: limits.per_source", "8: limits.rate", "9: limits.burst", "19: limits.per_source_rate",
              "20: limits.per_source_burst", "22: limits.source_prefix_ipv4", "22: limits.source_prefix_ipv6",
              "16: limits.wait_timeout", "15: limits.reject_text", "13: limits.on_excess", "", "11: access.on_deny"}) {
            ++line;
            if (*key == '\0') continue;
            out += fmt::format("{}:{} cannot be enforced: {}", line, key, why);
            if (line == 17) out += ": only \"queue\" is possible";
            if (line == 19) out += ": only \"drop\" is possible";
            out += "\n";
        }
        return out;
    };
    CHECK(errors_in(definition("tcp://*:1", "prefork") + "handoff = \"listen\"\n" + text) ==
          expected("under handoff \"listen\" the handler accepts clients itself, and superd never sees them"));
    CHECK(errors_in(definition("udp://*:1", "iterative") + "handoff = \"listen\"\n" + text) ==
          expected(
              "under model \"iterative\" the handler receives datagrams itself, and superd never sees their senders"));
    const std::string fine =
        "[limits]\ninstances = 5\nmax_load = 2\non_excess = \"queue\"\n"
        "[access]\nallow = \"::1\"\ntimes = \"00:00-24:00\"\non_deny = \"drop\"\n";
    CHECK(errors_in(definition("udp://*:1", "prefork") + fine).empty());
    CHECK(errors_in(definition("tcp://*:1", "iterative") + "handoff = \"listen\"\n" + fine).empty());
}

TEST_CASE("single datagrams have limits by source and rate, but no connection to hold or end") {
    const std::string fork = definition("udp://*:1", "fork") + "[limits]\n";
    const std::string why = " cannot be enforced: a datagram has no connection to hold or end, and is dropped instead";
    CHECK(service_in(fork + "per_source = 1\nrate = \"1/s\"\nper_source_rate = \"2/s\"\nsource_prefix_ipv4 = 24\n"
                            "on_excess = \"queue\"\n")
              .limits->per_source_rate == Rate{500ms, 2});
    CHECK(errors_in(fork + "on_excess = \"close\"\n") ==
          "5:13: limits.on_excess" + why + ": only \"queue\" is possible\n");
    CHECK(errors_in(fork + "wait_timeout = \"1s\"\n[access]\non_deny = \"close\"\n") ==
          "5:16: limits.wait_timeout" + why + "\n7:11: access.on_deny" + why + ": only \"drop\" is possible\n");
}

TEST_CASE("a default that cannot apply to a service has no effect there and is not an error") {
    const Folder folder;
    folder.write("superd.toml",
                 "[defaults.limits]\ninstances = 7\nper_source = 3\nrate = \"1/s\"\nper_source_burst = 9\n"
                 "on_excess = \"reject\"\nreject_text = \"x\"\nwait_timeout = \"1s\"\n"
                 "[defaults.access]\nallow = \"10.0.0.0/8\"\non_deny = \"reset\"\n");
    folder.define("a", definition("tcp://*:1", "fork"));
    folder.define("listen", definition("tcp://*:2", "prefork") + "handoff = \"listen\"\n");
    folder.define("udp", definition("udp://*:1", "fork"));
    folder.define("unix", definition("unix://@x", "fork"));
    REQUIRE(folder.errors().empty());
    const auto services = folder.services();
    Limits seven;
    seven.instances = 7;
    CHECK(services.at("listen").limits == seven);
    seven.per_source = 3;
    seven.rate = {1s, 1};
    CHECK(services.at("udp").limits == seven);
    seven.on_excess = Excess::reject;
    seven.reject_text = "x";
    seven.wait_timeout = 1s;
    CHECK(services.at("a").limits == seven);
    CHECK(services.at("unix").limits == seven);
    CHECK_FALSE(services.at("unix").access->restricts_sources());
    CHECK(services.at("listen").access->restricts_sources());

    folder.write("conf.d/listen.toml.d/1.toml", "limits.burst = 5\n");
    CHECK(folder.errors() ==
          "conf.d/listen.toml.d/1.toml:1:16: limits.burst cannot be enforced: under handoff \"listen\" the handler "
          "accepts clients itself, and superd never sees them\n");
}

TEST_CASE("mistakes in a default are reported once, at its own place") {
    const Folder folder;
    folder.write("superd.toml", "[defaults.limits]\nrate = \"1/x\"\n[defaults.access]\ndeny = [\"::1\", \"x\"]\n");
    for (const bool used : {false, true}) {
        INFO(used);
        if (used) folder.define("a", sound);
        CHECK(folder.errors() ==
              "superd.toml:2:8: limits.rate \"1/x\" is not a rate: write a whole number per s, m, h or d, such as "
              "\"100/s\"\n"
              "superd.toml:4:16: access.deny \"x\" is not a prefix: write addresses such as \"10.0.0.0/8\", "
              "\"192.0.2.1\" or \"2001:db8::/32\"\n");
    }
    folder.write("superd.toml", "[defaults]\nlimits.on_excess = \"reject\"\n");
    folder.define("b", definition("tcp://*:2", "fork"));
    CHECK(folder.errors() == "superd.toml:2:20: limits.on_excess \"reject\" needs a reject_text to send to clients\n");
    folder.define("b", definition("tcp://*:2", "fork") + "limits.reject_text = \"x\"\n");
    folder.define("a", sound + "limits.on_excess = \"close\"\n");
    CHECK(folder.errors().empty());
}

}  // namespace superd::conf::limits_tests
