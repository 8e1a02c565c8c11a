// SPDX-License-Identifier: MIT
#include "imported.h"

#include <map>

#include "ctl/import/xinetd.h"

namespace superd::ctl::xinetd_tests {

namespace {

Import from(std::string_view text, Answers answers = {}) {
    return import_xinetd("xinetd.conf", text, machine(std::move(answers)));
}

/// An entry with what xinetd requires, and these lines from line 7 on.
std::string entry(const std::string& name, const std::string& lines) {
    return "service " + name + "\n{\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tserver = /bin/a\n" + lines +
           "}\n";
}

std::vector<std::string> prefixes(std::initializer_list<std::string> words) {
    std::vector<std::string> names, out;
    for (const sys::Prefix& prefix : xinetd::prefixes_of(words, names)) out.push_back(text_of(prefix));
    for (const std::string& name : names) out.push_back("name " + name);
    return out;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("xinetd: an entry becomes a service; the handler's only group is its primary one, as under xinetd") {
    const Import import = from(entry("a", "\tserver_args = -x \"b c\"\n\tport = 7\n"));
    const Imported& a = service(import, "a");
    CHECK(value(a, "listen") == R"("tcp://*:7")");
    CHECK(value(a, "model") == R"("fork")");
    CHECK(value(a, "exec") == R"(["/bin/a", "-x", "\"b", "c\""])");  // xinetd knows no quotes
    CHECK(value(a, "argv0").empty());
    CHECK(value(a, "user") == R"("root")");
    CHECK(value(a, "supplementary_groups") == "[]");
    CHECK(value(a, "stderr") == R"("socket")");
    CHECK(errors(import) == 0);
}

TEST_CASE("xinetd: flags choose family, socket options and argv[0]; flags that kept clients out switch it off") {
    const Import import = from(entry("a", "\tflags = IPv4 KEEPALIVE NODELAY REUSE NOLIBWRAP\n\tgroups = yes\n") +
                               entry("b", "\tflags = IPv6 NAMEINARGS\n\tserver_args = ftpd -l\n\tv6only = yes\n") +
                               entry("c", "\tflags = IDONLY\n") + entry("d", "\tflags = INTERCEPT WHAT\n") +
                               entry("e", "\tflags = SENSOR\n\tdeny_time = 60\n"));
    CHECK(value(service(import, "a"), "listen") == R"("tcp://0.0.0.0:a")");
    CHECK(value(service(import, "a"), "socket.keepalive") == "true");
    CHECK(value(service(import, "a"), "socket.nodelay") == "true");
    CHECK(value(service(import, "a"), "supplementary_groups").empty());
    CHECK(value(service(import, "b"), "listen") == R"("tcp://[::]:b")");
    CHECK(value(service(import, "b"), "exec") == R"(["/bin/a", "-l"])");
    CHECK(value(service(import, "b"), "argv0") == R"("ftpd")");
    CHECK(value(service(import, "c"), "enabled") == "false");
    CHECK(notes(import, 26, Fate::disabled, "IDONLY") == 1);
    CHECK_FALSE(service(import, "d").enabled());
    CHECK(notes(import, 34, Fate::disabled, "WHAT") == 1);
    CHECK(import.services.size() == 5);
}

TEST_CASE("xinetd: a SENSOR serves nobody, and who comes is refused by every service for deny_time minutes") {
    const Import import =
        from(entry("a", "\tflags = SENSOR\n\tdeny_time = 60\n\tonly_from = 10.0.0.1\n") +
             entry("b", "\tflags = SENSOR\n\tdeny_time = FOREVER\n") +
             entry("c", "\tflags = SENSOR\n\tdeny_time = NEVER\n") + entry("d", "\tflags = SENSOR\n") +
             entry("e", "\tflags = SENSOR\n\tsocket_type = dgram\n\tprotocol = udp\n"));
    const Imported& a = service(import, "a");
    CHECK(value(a, "exec") == R"(["superd-discard"])");
    CHECK(value(a, "access.deny") == R"(["0.0.0.0/0", "::/0"])");
    CHECK(value(a, "access.allow").empty());
    CHECK(value(a, "penalty.touched") == R"("60m")");
    CHECK(value(a, "penalty.max") == R"("60m")");
    CHECK(value(a, "penalty.threshold") == R"("0s")");
    CHECK(value(a, "penalty.exempt") == "[]");
    CHECK(value(a, "penalty.everywhere") == "true");
    CHECK(value(service(import, "b"), "penalty.touched") == R"("1440000m")");
    for (const char* only_logs : {"c", "d"}) {
        CHECK(value(service(import, only_logs), "access.deny") == R"(["0.0.0.0/0", "::/0"])");
        CHECK_FALSE(service(import, only_logs).has("penalty.touched"));
    }
    CHECK(import.services.size() == 4);
    CHECK(std::ranges::count(import.notes, Fate::skipped, &Note::fate) == 1);
}

TEST_CASE("xinetd: each entry starts from the defaults; = replaces, += adds, -= removes") {
    const Import import = from(
        "defaults\n{\n\tinstances = 5\n\tonly_from = 10.0.0.1\n\tonly_from = 10.0.0.2\n\tumask = 27\n"
        "\tlog_on_success = PID\n\tcps = 25 30\n\tper_source = 3\n}\n" +
        entry("a", "") + entry("b", "\tonly_from += 10.0.0.3\n\tinstances = 7\n") +
        entry("c", "\tonly_from -= 10.0.0.1\n\tlog_on_success =\n\tinstances = UNLIMITED\n\tper_source = UNLIMITED\n") +
        entry("d", "\tonly_from = 10.0.0.4\n\tonly_from = 10.0.0.5\n\tinstances += 2\n"));
    CHECK(value(service(import, "a"), "access.allow") == R"(["10.0.0.1", "10.0.0.2"])");
    CHECK(value(service(import, "a"), "limits.instances") == "5");
    CHECK(value(service(import, "a"), "limits.per_source") == "3");
    CHECK(value(service(import, "a"), "umask") == R"("027")");
    CHECK(value(service(import, "a"), "log.connections") == R"("all")");
    CHECK(value(service(import, "a"), "limits.rate") == R"("25/s")");
    CHECK(notes(import, 8, Fate::changed, "30 seconds") == 4);
    CHECK(value(service(import, "b"), "access.allow") == R"(["10.0.0.1", "10.0.0.2", "10.0.0.3"])");
    CHECK(value(service(import, "b"), "limits.instances") == "7");
    CHECK(value(service(import, "c"), "access.allow") == R"(["10.0.0.2"])");
    CHECK(value(service(import, "c"), "log.connections").empty());
    CHECK(value(service(import, "c"), "limits.instances") == "1000000");
    CHECK(value(service(import, "c"), "limits.per_source").empty());
    CHECK(value(service(import, "d"), "access.allow") == R"(["10.0.0.5"])");
    CHECK(value(service(import, "d"), "limits.instances") == "5");
    CHECK(notes(import, 46, Fate::lost, "instances +=") == 1);
}

TEST_CASE("xinetd: of an attribute given twice the first counts, as in xinetd") {
    const Import import = from(entry("a", "\tnice = 4\n\tnice = 5\n"));
    CHECK(value(service(import, "a"), "nice") == "4");
    CHECK(notes(import, 8, Fate::lost, "twice") == 1);
}

TEST_CASE("xinetd: include and includedir are read in order, skipping names with a dot; a circle is an error") {
    const Import import = from("include /one\nincludedir /d\ninclude /missing\n",
                               {.files = {{"/one", entry("one", "") + "include /one\n"},
                                          {"/d/b", entry("b", "")},
                                          {"/d/a", entry("a", "")},
                                          {"/d/c.dpkg-old", entry("old", "")},
                                          {"/d/d~", entry("backup", "")}}});
    REQUIRE(import.services.size() == 3);
    CHECK(import.services[0].name == "one");
    CHECK(import.services[1].name == "a");
    CHECK(import.services[2].name == "b");
    CHECK(import.services[2].at.file == "/d/b");
    CHECK(notes(import, 0, Fate::error, "includes itself") == 1);
    CHECK(notes(import, 3, Fate::error, "/missing cannot be read: no such file") == 1);
}

TEST_CASE("xinetd: disable, disabled and enabled switch services off by their ids") {
    const Import import = from("defaults\n{\n\tdisabled = b\n\tenabled = a b\n}\n" + entry("x", "\tid = a\n") +
                               entry("b", "") + entry("c", "") + entry("d", "\tdisable = yes\n"));
    CHECK(service(import, "a").enabled());
    CHECK_FALSE(service(import, "b").enabled());
    CHECK_FALSE(service(import, "c").enabled());
    CHECK_FALSE(service(import, "d").enabled());
}

TEST_CASE("xinetd: two entries of the same name are two services") {
    const Import import = from(
        "service echo\n{\n\ttype = INTERNAL\n\tsocket_type = stream\n\twait = no\n\tuser = root\n}\n"
        "service echo\n{\n\ttype = INTERNAL\n\tsocket_type = dgram\n\twait = yes\n\tuser = root\n}\n");
    CHECK(value(service(import, "echo"), "exec") == R"(["superd-echo"])");
    CHECK(value(service(import, "echo"), "user").empty());
    CHECK(value(service(import, "echo-udp"), "listen") == R"("udp://*:echo")");
    CHECK(value(service(import, "echo-udp"), "model") == R"("iterative")");
}

TEST_CASE(
    "xinetd: RPC, TCPMUX, redirected datagrams and services without a handler in superd are left out and reported") {
    const Import import =
        from(entry("a", "\ttype = RPC\n") + entry("b", "\ttype = TCPMUX\n") +
             "service c\n{\n\tsocket_type = dgram\n\twait = yes\n\tuser = root\n\tredirect = 10.0.0.1 80\n\n}\n" +
             "service services\n{\n\ttype = INTERNAL UNLISTED\n\tsocket_type = stream\n\twait = no\n\tport = 9098\n}\n"
             "service raw\n{\n\tsocket_type = raw\n\twait = no\n\tserver = /bin/a\n}\n"
             "service none\n{\n\tsocket_type = stream\n\twait = no\n}\n" +
             entry("named", "\tbind = gw.example.org\n"));
    CHECK(import.services.empty());
    for (const int line : {1, 9, 17, 25, 32, 38}) {
        INFO("line " << line);
        CHECK(notes(import, line, Fate::skipped, "left out") == 1);
    }
    CHECK(notes(import, 49, Fate::skipped, "gw.example.org") == 1);
}

TEST_CASE("xinetd: a redirection is superd-proxy, with all that limits its clients") {
    const Import import = from(
        "service web\n{\n\ttype = UNLISTED\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tgroup = wheel\n"
        "\tport = 8080\n\tredirect = 10.0.0.1 80\n\tper_source = 3\n\tonly_from = 10.0.0.0/8\n"
        "\tlog_on_success = TRAFFIC\n}\n"
        "service six\n{\n\ttype = UNLISTED\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tport = 8081\n"
        "\tredirect = ::1 ssh\n}\n"
        "service name\n{\n\ttype = UNLISTED\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tport = 8082\n"
        "\tredirect = www.example.org 80\n}\n");
    const Imported& web = service(import, "web");
    CHECK(web.enabled());
    CHECK(value(web, "exec") == R"(["superd-proxy", "tcp://10.0.0.1:80"])");
    CHECK(value(web, "model") == R"("fork")");
    CHECK(value(web, "user").empty());
    CHECK(value(web, "group").empty());
    CHECK(value(web, "limits.per_source") == "3");
    CHECK(value(web, "access.allow") == R"(["10.0.0.0/8"])");
    CHECK(value(web, "log.usage") == "true");
    CHECK(value(service(import, "six"), "exec") == R"(["superd-proxy", "tcp://[::1]:ssh"])");
    CHECK(value(service(import, "name"), "exec") == R"(["superd-proxy", "tcp://www.example.org:80"])");
    CHECK(notes(import, 30, Fate::changed, "for each client") == 1);
}

TEST_CASE("xinetd: addresses in all their forms") {
    CHECK(prefixes({"128.138.12.0"}) == Words{"128.138.12.0/24"});
    CHECK(prefixes({"10.0.0.0"}) == Words{"10.0.0.0/8"});
    CHECK(prefixes({"0.0.0.0"}) == Words{"0.0.0.0/0"});
    CHECK(prefixes({"10.1.2.3", "10.1.2.3"}) == Words{"10.1.2.3"});
    CHECK(prefixes({"10.1.2.{3,4}"}) == Words{"10.1.2.3", "10.1.2.4"});
    CHECK(prefixes({"10.{1,2}"}) == Words{"10.1.0.0/16", "10.2.0.0/16"});
    CHECK(prefixes({"10.0.0.{0}"}) == Words{"10.0.0.0"});  // a host: only what is written decides
    CHECK(prefixes({"10.1.2.3/8", "1234::/46", "2001:db8::1"}) == Words{"10.0.0.0/8", "1234::/46", "2001:db8::1"});
    CHECK(prefixes({"192.168.1"}) == Words{"192.168.0.1"});  // inet_aton(3)
    CHECK(prefixes({"localhost", "a.example.org", ".example.org", "10.1.2.{3", "10.{300}", "1.2.3.4.5"}) ==
          Words{"name localhost", "name a.example.org", "name .example.org", "name 10.1.2.{3", "name 10.{300}",
                "name 1.2.3.4.5"});
}

TEST_CASE("xinetd: a list that cannot be carried over never lets more clients in") {
    const Import import = from(entry("nobody", "\tonly_from =\n") + entry("names", "\tonly_from = a.example.org\n") +
                               entry("some", "\tonly_from = a.example.org 10.0.0.1\n") +
                               entry("deny", "\tno_access = a.example.org 10.0.0.1\n"));
    for (const char* closed : {"nobody", "names"}) {
        CHECK(value(service(import, closed), "access.deny") == R"(["0.0.0.0/0", "::/0"])");
        CHECK(value(service(import, closed), "access.allow").empty());
    }
    CHECK(notes(import, 15, Fate::lost, "a.example.org") == 1);
    CHECK(value(service(import, "some"), "access.allow") == R"(["10.0.0.1"])");
    CHECK(value(service(import, "deny"), "access.deny") == R"(["10.0.0.1"])");
    CHECK_FALSE(service(import, "deny").enabled());
    CHECK(notes(import, 31, Fate::disabled, "a.example.org") == 1);
}

TEST_CASE("xinetd: times, limits, environment and attributes without an equivalent") {
    const Import import = from(
        entry("a",
              "\taccess_times = 2:00-9:5 12:00-23:59\n\tenv = A=1 B=x=y\n\tenv += C=3\n\tpassenv = TZ LANG\n"
              "\trlimit_as = 8M\n\trlimit_cpu = 020\n\trlimit_files = UNLIMITED\n\trlimit_rss = 1M\n\tmax_load = 2.5\n"
              "\tgroup = www\n\tbind = 192.0.2.1\n\tbanner = /etc/motd\n\tlog_type = SYSLOG daemon\n\tcolour = red\n"
              "\tlog_on_failure = HOST USERID\n\tnice = fast\n"));
    const Imported& a = service(import, "a");
    CHECK(value(a, "access.times") == R"(["02:00-09:05", "12:00-23:59"])");
    CHECK(value(a, "environment.A") == R"("1")");
    CHECK(value(a, "environment.B") == R"("x=y")");
    CHECK(value(a, "environment.C") == R"("3")");
    CHECK(value(a, "pass_environment") == R"(["TZ", "LANG"])");
    CHECK(value(a, "rlimits.as") == "8388608");
    CHECK(value(a, "rlimits.cpu") == "20");
    CHECK(value(a, "rlimits.nofile") == R"("unlimited")");
    CHECK(notes(import, 14, Fate::lost, "rlimit_rss") == 1);
    CHECK(value(a, "limits.max_load") == "2.5");
    CHECK(value(a, "group") == R"("www")");
    CHECK(value(a, "listen") == R"("tcp://192.0.2.1:a")");
    CHECK(notes(import, 18, Fate::lost, "banner = /etc/motd") == 1);
    CHECK(notes(import, 19, Fate::lost, "log_type") == 1);
    CHECK(notes(import, 20, Fate::lost, "not an attribute of xinetd's") == 1);
    CHECK(notes(import, 21, Fate::lost, "USERID") == 1);
    CHECK(notes(import, 22, Fate::disabled, "nice = fast") == 1);
    CHECK_FALSE(a.enabled());
}

TEST_CASE(
    "xinetd: anything but an entry is an error with its line, and is skipped up to the next brace, as in xinetd") {
    const Import import = from("sercive a\n{\n" + entry("lost", "") + entry("b", "\tport=7\n") +
                               "service c {\n\twait = no\n}\n" + "service d\n{\n\twait = no\n");
    CHECK(notes(import, 1, Fate::error, "sercive") == 1);
    CHECK(notes(import, 16, Fate::error, "port=7") == 1);
    CHECK_FALSE(service(import, "b").enabled());
    CHECK(notes(import, 18, Fate::error, "with only {") == 1);
    CHECK(notes(import, 23, Fate::error, "not closed") == 1);
    CHECK(std::ranges::find(import.services, "lost", &Imported::name) == import.services.end());
}

TEST_CASE("xinetd: case does not matter in xinetd's own words, but it does in names") {
    const Import import = from(
        "Service a\n{\n\tSOCKET_TYPE = Stream\n\tWait = NO\n\tUser = Root\n\tserver = /bin/A\n"
        "\tFlags = nodelay ipv4\n\tInstances = unlimited\n\tType = unlisted\n\tPort = 7\n\tDisable = No\n}\n");
    const Imported& a = service(import, "a");
    CHECK(a.enabled());
    CHECK(value(a, "listen") == R"("tcp://0.0.0.0:7")");
    CHECK(value(a, "socket.nodelay") == "true");
    CHECK(value(a, "limits.instances") == "1000000");
    CHECK(value(a, "user") == R"("Root")");
    CHECK(value(a, "exec") == R"(["/bin/A"])");
}

TEST_CASE("xinetd: a value that xinetd refuses, or a missing one, switches the service off") {
    for (const char* line : {"disable = True",
                             "flags = FASTER",
                             "flags =",
                             "type = FANCY",
                             "instances = -1",
                             "cps = 5 x",
                             "port = http",
                             "umask = 99",
                             "env = A",
                             "env -= A=1",
                             "rlimit_as = 8G",
                             "max_load = low",
                             "access_times = 9",
                             "access_times = 9:00-8:00",
                             "log_on_success = ALL",
                             "only_from = 10.0.0.1,10.0.0.2",
                             "log_type = JOURNAL",
                             "server_args =",
                             "nice 5",
                             "only_from = 10.0.0.{1"}) {
        INFO(line);
        const Import import = from(entry("a", "\t" + std::string(line) + "\n"));
        CHECK_FALSE(service(import, "a").enabled());
    }
    // An attribute with the wrong number of values is ignored.
    for (const char* line : {"instances = 2 3", "cps = 50", "nice =", "nice += 5", "colour = red"}) {
        INFO(line);
        const Import import = from(entry("a", "\t" + std::string(line) + "\n"));
        CHECK(service(import, "a").enabled());
        CHECK(notes(import, 7, Fate::lost, "") == 1);
    }
    const Import unlisted = from(entry("nosuch", "\tport = 7\n") + entry("a", "\tport = 8\n") +
                                 "service b\n{\n\tsocket_type = stream\n\twait = no\n\tserver = /bin/a\n}\n");
    CHECK_FALSE(service(unlisted, "nosuch").enabled());
    CHECK_FALSE(service(unlisted, "a").enabled());
    CHECK_FALSE(service(unlisted, "b").enabled());
}

TEST_CASE(
    "xinetd: of defaults some count from where they stand on, the rest for all; what they may not have is passed "
    "over") {
    const Import import =
        from(entry("a", "") + "defaults\n{\n\tonly_from = 10.0.0.1\n\tumask = 027\n\tnice = 5\n}\n" + entry("b", ""));
    CHECK(value(service(import, "a"), "access.allow").empty());
    CHECK(value(service(import, "a"), "umask") == R"("027")");
    CHECK(value(service(import, "b"), "access.allow") == R"(["10.0.0.1"])");
    CHECK(value(service(import, "b"), "nice").empty());
    CHECK(notes(import, 12, Fate::lost, "only in services") == 1);
    const Import refused = from("defaults\n{\n\tinstances = many\n}\n" + entry("a", ""));
    CHECK_FALSE(service(refused, "a").enabled());
    CHECK(notes(refused, 3, Fate::disabled, "does not start with these defaults") == 1);
}

TEST_CASE("xinetd: a client in both lists stays out, whichever is longer") {
    const Import import =
        from(entry("a", "\tonly_from = 10.0.0.2 192.168.0.0\n\tno_access = 10.0.0.0/8 192.168.0.1\n"));
    CHECK(value(service(import, "a"), "access.allow") == R"(["192.168.0.0/16"])");
    CHECK(value(service(import, "a"), "access.deny") == R"(["192.168.0.1"])");
}

TEST_CASE("xinetd: hosts.allow and hosts.deny also count, under the server's name, unless NOLIBWRAP is set") {
    const Answers answers{
        .files = {{"/etc/hosts.deny", "a: 10.0.0. EXCEPT 10.0.0.1\nb, other : 192.168.0.0/255.255.0.0\n"},
                  {"/etc/hosts.allow", "b: 192.168.1.\n"}}};
    const auto with = [&](const std::string& server, const std::string& lines) {
        return from("service x\n{\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tserver = /bin/" + server +
                        "\n" + lines + "}\n",
                    answers);
    };
    CHECK_FALSE(service(with("a", ""), "x").enabled());
    CHECK(service(with("a", "\tflags = NOLIBWRAP\n"), "x").enabled());
    const Import b = with("b", "\tonly_from = 192.168.0.0\n");
    CHECK(value(service(b, "x"), "access.allow") == R"(["192.168.1.0/24"])");
    CHECK(value(service(with("c", "\tlibwrap = other\n"), "x"), "access.deny") == R"(["192.168.0.0/16"])");
    CHECK(value(service(with("c", ""), "x"), "access.deny").empty());
}

}  // namespace superd::ctl::xinetd_tests
