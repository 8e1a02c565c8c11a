// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include <csignal>

#include "conf/diagnostic.h"
#include "unit/conf/folder.h"

namespace superd::conf::diagnostic_tests {

using namespace test;

TEST_CASE("a wrong word is shown with file, line, column, caret and correction") {
    const Folder folder;
    folder.define("echo", "listen = \"tcp://127.0.0.1:7007\"\nexec = [\"handler\"]\nmodel = \"frok\"\n");
    CHECK(folder.shown() ==
          "conf.d/echo.toml:3:9: error: model \"frok\" is not one of fork, prefork, iterative, delayed (did you mean "
          "\"fork\"?)\n"
          "    3 | model = \"frok\"\n"
          "      |         ^^^^^^\n");
}

TEST_CASE("thirty errors in ten files are all reported, each at its place, in order") {
    const Folder folder;
    std::string expected;
    for (int i = 0; i < 10; ++i) {
        const std::string name = std::string("s") + std::to_string(i);
        folder.define(name, fmt::format("listen = \"tcp://127.0.0.1:70{:02}\"\nmodel = \"frok\"\nexec = [\"handler\"]\n"
                                        "stop_timeout = 10\n\n[limits]\n  instances = 0\n",
                                        i));
        const std::string file = "conf.d/" + name + ".toml";
        expected +=
            file + ":2:9: model \"frok\" is not one of fork, prefork, iterative, delayed (did you mean \"fork\"?)\n";
        expected += file + ":4:16: stop_timeout 10 has no unit: write a duration with its unit, such as \"10s\"\n";
        expected += file + ":7:15: limits.instances 0 is out of range 1 to 1000000\n";
    }
    CHECK(folder.errors() == expected);
}

TEST_CASE("the caret stays under its word after tabs and other alphabets") {
    const Folder folder;
    folder.define("a", sound + "[environment]\n\tA\t=\t1\n\"\xc3\xa4\" = 2\n");
    CHECK(folder.shown() ==
          "conf.d/a.toml:5:6: error: environment: expected a string, found an integer\n"
          "    5 | \tA\t=\t1\n"
          "      | \t \t \t^\n"
          "conf.d/a.toml:6:7: error: environment: expected a string, found an integer\n"
          "    6 | \"\xc3\xa4\" = 2\n"
          "      |       ^\n");
}

TEST_CASE("control characters of a file reach the terminal escaped, and the caret allows for their width") {
    const Diagnostic diagnostic{{"a\x1b.toml", 1, 8, 3, "# \x1b[2J \"x\""}, "odd \x07"};
    CHECK(format(diagnostic) ==
          "a\\x1b.toml:1:8: error: odd \\x07\n"
          "    1 | # \\x1b[2J \"x\"\n"
          "      |           ^^^\n");
}

TEST_CASE("the caret points to the end of a line where something is missing") {
    CHECK(format(Diagnostic{{"f", 12345678, 5, 1, "a = "}, "m"}) ==
          "f:12345678:5: error: m\n12345678 | a = \n         |     ^\n");
}

TEST_CASE("a value of many lines is underlined to the end of its first one") {
    const Folder folder;
    folder.define("a", sound + "nice = [1,\n2]\n");
    CHECK(folder.shown() ==
          "conf.d/a.toml:4:8: error: nice: expected an integer from -20 to 19, found an array\n"
          "    4 | nice = [1,\n"
          "      |        ^^^\n");
}

TEST_CASE("an error that several services inherit from the defaults is reported once") {
    const Folder folder;
    folder.write("superd.toml", "[defaults]\nuser = \"no-such-user\"\nnice = 99\n");
    folder.define("a", sound);
    folder.define("b", "listen = \"tcp://127.0.0.1:7008\"\nmodel = \"fork\"\nexec = [\"handler\"]\n");
    CHECK(folder.errors() ==
          "superd.toml:2:8: user \"no-such-user\": no such user\n"
          "superd.toml:3:8: nice 99 is out of range -20 to 19\n");
}

TEST_CASE("a very long line is not shown") {
    const Folder folder;
    folder.define("a", sound + "nice = \"" + std::string(2000, 'x') + "\"\n");
    CHECK(folder.shown() == "conf.d/a.toml:4:8: error: nice: expected an integer from -20 to 19, found a string\n");
}

TEST_CASE("what only this machine or this user lacks is marked, and what is wrong everywhere is not") {
    const Folder folder;
    const std::string path = folder.path("bin/handler");
    const auto local = [&](const std::string& text, Surroundings from) {
        folder.define("a", text);
        const auto catalog = load(from);
        REQUIRE_FALSE(catalog.has_value());
        REQUIRE(catalog.error().size() == 1);
        INFO(catalog.error()[0].message);
        return catalog.error()[0].local;
    };
    const std::string model = "model = \"fork\"\n", listen = "listen = \"tcp://*:1\"\n";
    const std::string exec = "exec = [\"" + path + "\"]\n", service = model + listen + exec;
    const Surroundings root = folder.surroundings();
    Surroundings other = root;
    other.uid = other.gid = 4242;
    folder.write("bin/plain", "", 0644);
    CHECK(local(model + listen + "exec = [\"no-such-program\"]\n", root));
    CHECK(local(model + listen + "exec = [\"" + folder.path("bin/none") + "\"]\n", root));
    CHECK(local(model + listen + "exec = [\"" + folder.path("bin/plain") + "\"]\n", root));
    CHECK(local(service + "user = \"no-such-user\"\n", root));
    CHECK(local(service + "group = \"no-such-group\"\n", root));
    CHECK(local(service + "working_directory = \"/no/such/folder\"\n", root));
    CHECK(local(model + exec + "listen = \"tcp://*:no-such-port\"\n", root));
    CHECK(local(model + exec + "listen = \"unix:///run/x\"\n[socket]\nuser = \"no-such-user\"\n", root));
    CHECK(local(service + "supplementary_groups = []\n", other));
    CHECK(local(service + "[socket]\nmark = 1\n", other));
    CHECK_FALSE(local(model + listen + "exec = [\"bin/handler\"]\n", root));
    CHECK_FALSE(local(service + "working_directory = \"relative\"\n", root));
    CHECK_FALSE(local(service + "environment = { \"A-B\" = \"1\" }\n", root));
    CHECK_FALSE(local(model + exec + "listen = \"tcp://*:70000\"\n", root));
    CHECK_FALSE(local(service + "[limits]\nburst = 5\n", root));
}

}  // namespace superd::conf::diagnostic_tests
