// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "conf/time_window.h"
#include "unit/conf/folder.h"

namespace superd::conf::access_tests {

using namespace test;

namespace {

/// Errors in [access] with these lines, which begin at line 5.
std::string access_errors(const std::string& text) {
    return errors_of("[access]\n" + text);
}

Access access(const std::string& text) {
    return service_of("[access]\n" + text).access;
}

std::string texts(const std::vector<superd::sys::Prefix>& prefixes) {
    std::string out;
    for (const auto& prefix : prefixes) out += prefix.text() + " ";
    return out;
}

std::string on(const std::string& listen, const std::string& more) {
    return "listen = \"" + listen + "\"\nmodel = \"fork\"\nexec = [\"handler\"]\n[access]\n" + more + "\n";
}

/// `count` prefixes, each on its own line below the key's.
std::string many(const std::string& key, int count) {
    std::string out = key + " = [\n";
    for (int i = 0; i < count; ++i) out += fmt::format("\"10.{}.{}.0/24\",\n", i / 256, i % 256);
    return out + "]\n";
}

}  // namespace

TEST_CASE("lists of prefixes keep their order, one or many") {
    const Access lists = access("allow = [\"10.0.0.0/8\", \"2001:db8::/32\", \"::1\"]\ndeny = \"10.9.8.7\"");
    CHECK(texts(lists.allow) == "10.0.0.0/8 2001:db8::/32 ::1/128 ");
    CHECK(texts(lists.deny) == "10.9.8.7/32 ");
    CHECK(texts(access("allow = \"192.0.2.77/24\"").allow) == "192.0.2.0/24 ");
    CHECK(access("allow = []\ndeny = []\ntimes = []") == Access{});
    CHECK(access("on_deny = \"drop\"").on_deny == Denial::drop);
    CHECK(access("on_deny = \"reset\"").on_deny == Denial::reset);
    CHECK(access_errors("allow = \"::1\"\ndeny = \"::1\"").empty());
    CHECK(access_errors("on_deny = \"droop\"") ==
          "5:11: access.on_deny \"droop\" is not one of close, reset, drop (did you mean \"drop\"?)\n");
}

TEST_CASE("each wrong prefix is an error at its own place") {
    const std::string form =
        " is not a prefix: write addresses such as \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"\n";
    CHECK(access_errors("allow = [\"10.0.0.0/33\", \"::1\", \"localhost\"]\ndeny = \"\"") ==
          "5:10: access.allow \"10.0.0.0/33\"" + form + "5:32: access.allow \"localhost\"" + form +
              "6:8: access.deny \"\"" + form);
    CHECK(access_errors("deny = [\"10.0.0.0/8\",\n  \"10.1.2.3/8\"]") ==
          "6:3: access.deny \"10.1.2.3/8\": 10.0.0.0/8 is given twice\n");
    CHECK(access_errors("deny = [\"1.2.3.4\", \"::ffff:1.2.3.4\"]") ==
          "5:20: access.deny \"::ffff:1.2.3.4\": 1.2.3.4/32 is given twice\n");
    CHECK(access_errors("allow = 10") ==
          "5:9: access.allow: expected a string or an array of strings, found an integer\n");
    CHECK(access_errors("allow = [\"::1\", 10]") == "5:17: access.allow: expected a string, found an integer\n");
}

TEST_CASE("times are days and hours, days by name, ranges over the weekend and over midnight") {
    const auto window = [](const std::string& text) { return superd::conf::parse_time_window(text).value(); };
    CHECK(window("00:00-24:00") == TimeWindow{0x7f, 0, 1440});
    CHECK(window("Mon-Fri 08:00-18:00") == TimeWindow{0b0111110, 480, 1080});
    CHECK(window("Sat 10:00-12:30") == TimeWindow{0b1000000, 600, 750});
    CHECK(window("Mon,Wed,Fri 22:00-06:00") == TimeWindow{0b0101010, 1320, 360});
    CHECK(window("sat-MON 22:00-00:00") == TimeWindow{0b1000011, 1320, 0});
    CHECK(window("Sun,Tue-Thu,Wed 09:05-09:06") == TimeWindow{0b0011101, 545, 546});
    CHECK(window("Mon-Sun 23:59-24:00") == TimeWindow{0x7f, 1439, 1440});
    CHECK(window("Tue-Tue 01:00-02:00") == TimeWindow{0b0000100, 60, 120});
    CHECK(access("times = \"Sun 08:00-18:00\"").times == std::vector<TimeWindow>{{1, 480, 1080}});
    CHECK(access("times = [\"Sun 08:00-18:00\", \"20:00-21:00\"]").times.size() == 2);
}

TEST_CASE("each wrong time is an error at its own place") {
    const std::string form = "must be days and times, such as \"Mon-Fri 08:00-18:00\", or only times";
    const std::string days = " is not a day: write one of Sun, Mon, Tue, Wed, Thu, Fri, Sat";
    const std::string time = " is not a time of day: write 00:00 to 24:00";
    for (const auto& [text, error] :
         std::map<std::string, std::string>{{"", form},
                                            {"Mon", form},
                                            {"08:00", form},
                                            {"Mon-Fri", form},
                                            {"Mon 08:00 - 18:00", form},
                                            {"Mon, Tue 08:00-18:00", form},
                                            {"Mon  08:00-18:00", form},
                                            {"Monday 08:00-18:00", "\"Monday\"" + days},
                                            {"Mon-Fir 08:00-18:00", "\"Fir\"" + days},
                                            {"Mon, 08:00-18:00", "\"\"" + days},
                                            {"Mon-Wed-Fri 08:00-18:00", "\"Wed-Fri\"" + days},
                                            {" 08:00-18:00", "\"\"" + days},
                                            {"8:00-18:00", "\"8:00\"" + time},
                                            {"08:00-25:00", "\"25:00\"" + time},
                                            {"08:00-24:01", "\"24:01\"" + time},
                                            {"08:60-18:00", "\"08:60\"" + time},
                                            {"08:00-18:00-20:00", "\"18:00-20:00\"" + time},
                                            {"0x:00-18:00", "\"0x:00\"" + time},
                                            {"08:00-08:00", "ends when it begins: all day is 00:00-24:00"},
                                            {"24:00-06:00", "begins at 24:00: write 00:00 and the next day"}}) {
        INFO(text);
        CHECK(access_errors("times = [\"00:00-24:00\", \"" + text + "\"]") ==
              "5:25: access.times \"" + text + "\": " + error + "\n");
    }
}

TEST_CASE("prefixes are refused if no client has an IP address") {
    const std::string why = " does not apply: the service listens on no IP address, so its clients have none\n";
    for (const char* listen : {"unix://@x", "unix-dgram://@x", "vsock://1:5"}) {
        INFO(listen);
        CHECK(errors_in(on(listen, "allow = \"::1\"\ndeny = \"::2\"")) ==
              "5:9: access.allow" + why + "6:8: access.deny" + why);
        CHECK(errors_in(on(listen, "times = \"00:00-24:00\"\non_deny = \"drop\"")).empty());
    }
    CHECK(errors_in(on("systemd:x", "allow = \"::1\"")).empty());
    CHECK(errors_in("listen = [\"unix://@x\", \"tcp://*:1\"]\nmodel = \"fork\"\nexec = [\"handler\"]\n"
                    "access.allow = \"::1\"\n")
              .empty());
}

TEST_CASE("lists that a socket filter enforces are bounded, wherever they come from") {
    const auto too_many = [](int line, const char* name, int count) {
        return fmt::format(
            "{}:1: {}: {} prefixes in all, but the kernel's socket filter, which enforces them here, holds at most "
            "250\n",
            line, name, count);
    };
    const std::string tcp = "tcp://*:1";
    CHECK(errors_in(on(tcp, many("allow", 1000))).empty());
    CHECK(errors_in(on(tcp, many("allow", 250) + "on_deny = \"drop\"")).empty());
    CHECK(errors_in(on(tcp, many("allow", 251) + "on_deny = \"drop\"")) == too_many(5 + 251, "access.allow", 251));
    CHECK(errors_in(on("udp://*:1", "allow = [\"::1\", \"::2\"]\n" + many("deny", 251))) ==
          too_many(6 + 249, "access.deny", 253));
    CHECK(errors_in(
              "handoff = \"listen\"\nlisten = \"tcp://*:1\"\nmodel = \"prefork\"\nexec = [\"handler\"]\n[access]\n" +
              many("deny", 300)) == too_many(6 + 251, "access.deny", 300));

    const Folder folder;
    folder.write("superd.toml", "[defaults.access]\n" + many("deny", 260));
    folder.define("a", sound);
    folder.define("b", on("udp://*:1", ""));
    CHECK(folder.errors() == "superd.toml:" + too_many(2 + 251, "access.deny", 260));
}

}  // namespace superd::conf::access_tests
