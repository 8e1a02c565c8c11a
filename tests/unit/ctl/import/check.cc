// SPDX-License-Identifier: MIT
#include "ctl/import/check.h"

#include "imported.h"
#include "tests/unit/conf/folder.h"

namespace superd::ctl::check_tests {

namespace {

conf::Surroundings root() {
    conf::Surroundings from;
    from.environment = {"PATH=/usr/bin:/bin"};
    return from;
}

Import fitted(std::string_view inetd) {
    Import import = import_inetd("inetd.conf", inetd, machine(), Dialect::bsd);
    fit(import, root());
    return import;
}

}  // namespace

TEST_CASE("a limit that superd cannot enforce for a service is removed, and reported with its line") {
    const Import import =
        fitted("7000\tstream\ttcp\twait.60\troot\t/bin/sh sh\n7001 dgram udp wait.9 root /bin/sh sh\n");
    CHECK(value(service(import, "7000"), "limits.rate").empty());
    CHECK(notes(import, 1, Fate::lost, "limits.rate cannot be enforced") == 1);
    CHECK(value(service(import, "7001"), "limits.rate").empty());
}

TEST_CASE("of several variables only those that superd refuses are removed") {
    Import import = import_inetd("inetd.conf", "7001 stream tcp nowait root /bin/sh sh\n", machine(), Dialect::bsd);
    import.services[0].set_environment({{"A", "1"}, {"REMOTE_HOST", "x"}, { "a b", "2" }}, {"x", 9});
    CHECK(definition_text(import.services[0]).find("environment.\"a b\" = \"2\"\n") != std::string::npos);
    fit(import, root());
    CHECK(value(import.services[0], "environment.A") == R"("1")");
    CHECK(value(import.services[0], "environment.REMOTE_HOST").empty());
    CHECK(value(import.services[0], "environment.a b").empty());
    CHECK(notes(import, 9, Fate::lost, "REMOTE_HOST is set by superd itself") == 1);
    CHECK(notes(import, 9, Fate::lost, "is not a variable's name") == 1);
}

TEST_CASE("notes about a value are removed with it, so that no two notes contradict each other") {
    const std::string text =
        "defaults\n{\n\tcps = 25 30\n}\nservice a\n{\n\ttype = UNLISTED\n\tport = 7001\n\tsocket_type = stream\n\twait "
        "= yes\n"
        "\tuser = root\n\tserver = /bin/sh\n}\nservice b\n{\n\ttype = UNLISTED\n\tport = 7002\n\tsocket_type = "
        "stream\n\twait = no\n"
        "\tuser = root\n\tserver = /bin/sh\n}\n";
    Import import = import_xinetd("xinetd.conf", text, machine());
    fit(import, root());
    const auto says = [&](const std::string& name, std::string_view words) {
        return std::ranges::count_if(import.notes, [&](const Note& note) {
            return note.service == name && note.text.find(words) != std::string::npos;
        });
    };
    CHECK(says("a", "clients wait for their turn") == 0);
    CHECK(says("a", "limits.rate cannot be enforced") == 1);
    CHECK(says("b", "clients wait for their turn") == 1);
    CHECK(value(service(import, "b"), "limits.rate") == R"("25/s")");
}

TEST_CASE("what this machine lacks stays in the file and is reported") {
    const Import import =
        fitted("7001 stream tcp nowait nosuchuser /no/such/program a\nnosuchport stream tcp nowait root /bin/sh sh\n");
    CHECK(notes(import, 1, Fate::missing, "\"/no/such/program\" does not exist") == 1);
    CHECK(notes(import, 1, Fate::missing, "no such user") == 1);
    CHECK(notes(import, 2, Fate::missing, "nosuchport") == 1);
    CHECK(value(service(import, "7001"), "exec") == R"(["/no/such/program"])");
    CHECK(value(service(import, "7001"), "argv0") == R"("a")");
    CHECK(service(import, "7001").enabled());
}

TEST_CASE("what confined a handler stays in the file, whatever this machine lacks for it") {
    Import import = import_inetd("inetd.conf", "7001 stream tcp nowait root /bin/cat cat\n", machine(), Dialect::bsd);
    import.services[0].set("sandbox.private_network", true, {"x", 9});
    import.services[0].set("sandbox.read_only_paths", std::vector<std::string>{"/no/such/path"}, {"x", 10});
    import.services[0].set("sandbox.protect_proc", "sometimes", {"x", 11});
    conf::Surroundings bare = root();
    bare.confinement.emplace();
    fit(import, bare);
    CHECK(value(import.services[0], "sandbox.private_network") == "true");
    CHECK(notes(import, 9, Fate::missing, "is not to be had on this machine") == 1);
    CHECK(notes(import, 10, Fate::missing, "/no/such/path") == 1);
    CHECK(value(import.services[0], "sandbox.protect_proc").empty());
    CHECK(notes(import, 11, Fate::lost, "is not one of") == 1);
}

TEST_CASE("access that superd cannot restrict in the same way switches the service off") {
    Import import = import_inetd("inetd.conf", "7001 stream tcp nowait root /bin/sh sh\n", machine(), Dialect::bsd);
    import.services[0].set("access.times", std::vector<std::string>{"sometimes"}, {"x", 9});
    fit(import, root());
    CHECK_FALSE(import.services[0].enabled());
    CHECK(value(import.services[0], "access.times").empty());
    CHECK(notes(import, 9, Fate::disabled, "more clients would be let in") == 1);
}

TEST_CASE("the second service on an address is switched off, and so is one on an address in use in the folder") {
    const conf::test::Folder folder;
    folder.define("b", "listen = \"tcp://127.0.0.1:7002\"\nmodel = \"fork\"\nexec = [\"/bin/sh\"]\n");
    folder.define("off",
                  "listen = \"tcp://127.0.0.1:7003\"\nmodel = \"fork\"\nexec = [\"/bin/sh\"]\nenabled = false\n");
    folder.define("c", "listen = \"tcp://127.0.0.1:7004\"\nmodel = \"fork\"\nexec = [\"/bin/sh\"]\n");
    const std::string text =
        "7001 stream tcp nowait root /bin/sh sh\n127.0.0.1:7001 stream tcp nowait root /bin/sh sh\n"
        "7002 stream tcp nowait root /bin/sh sh\n7003 stream tcp nowait root /bin/sh sh\n"
        "/run/c stream unix nowait root /bin/sh sh\n7004 stream tcp nowait root /bin/sh sh\n7001 dgram udp wait root "
        "/bin/sh sh\n";
    for (const bool replace : {false, true}) {
        Import import = fitted(text);
        settle_conflicts(import, root(), folder.path("conf.d"),
                         replace ? std::set<std::string>{"c"} : std::set<std::string>{});
        CHECK(service(import, "7001").enabled());
        CHECK_FALSE(service(import, "7001-tcp").enabled());
        CHECK(notes(import, 2, Fate::disabled, "tcp://127.0.0.1:7001 is taken by \"7001\" (inetd.conf:1)") == 1);
        CHECK_FALSE(service(import, "7002").enabled());
        CHECK(notes(import, 3, Fate::disabled, "b.toml") == 1);
        CHECK(service(import, "7003").enabled());
        CHECK(service(import, "7004").enabled() == replace);  // c.toml is written again
        CHECK(service(import, "7001-udp").enabled());
    }
}

TEST_CASE("a definition's text: where it comes from, keys in the manual's order, hostile text escaped") {
    Import import =
        import_inetd("a\nb", "7001 stream tcp nowait root /bin/sh sh \"x\\\x01\"\n", machine(), Dialect::freebsd);
    Imported& one = import.services[0];
    one.comment = "\x1b[31m\n";
    one.set("limits.instances", 3, one.at);
    CHECK(definition_text(one) ==
          "# Imported from a\\nb, line 1.\n"
          "# \\x1b[31m\n"
          "listen = \"tcp://0.0.0.0:7001\"\nmodel = \"fork\"\nexec = [\"/bin/sh\", \"x\\\\\\u0001\"]\nuser = \"root\"\n"
          "stderr = \"socket\"\n\n[limits]\ninstances = 3\n");
}

}  // namespace superd::ctl::check_tests
