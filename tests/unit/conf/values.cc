// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include <sys/resource.h>

#include <csignal>

#include "conf/schema.h"
#include "unit/conf/folder.h"

namespace superd::conf::values_tests {

using namespace test;
using namespace std::chrono_literals;

namespace {

struct Case {
    std::string text;
    std::string error;
};

void check(const std::vector<Case>& cases) {
    for (const Case& one : cases) {
        INFO(one.text);
        CHECK(errors_of(one.text) == one.error + "\n");
    }
}

}  // namespace

TEST_CASE("a definition of three keys has the contract's defaults") {
    const Service service = service_of("");
    CHECK(service.enabled);
    CHECK(service.model == Model::fork);
    CHECK(service.handoff == Handoff::connection);
    CHECK(service.handler.working_directory == "/");
    CHECK(service.handler.umask == 022);
    CHECK(service.handler.error_output == Stderr::log);
    CHECK(service.stop_signal == SIGTERM);
    CHECK(service.stop_timeout == 10s);
    CHECK(service.max_lifetime == std::nullopt);
    CHECK(service.socket == SocketOptions{});
    CHECK(service.socket->backlog == 4096);
    CHECK(service.limits == Limits{});
    CHECK(service.limits->instances == 256);
    CHECK(service.access == Access{});
    CHECK(service.prefork->min_spare == 2);
    CHECK(service.prefork->max_spare == 8);
    CHECK(service.delay == 250ms);
    CHECK(service.log_connections == LogConnections::failures);
}

TEST_CASE("every key sets what it names") {
    const Service service = service_in(R"(
listen = ["tcp://*:7", "unix:///run/x"]
model = "fork"
exec = ["handler"]
description = "x"
enabled = false
argv0 = "other"
umask = "0027"
nice = 5
stderr = "null"
stop_signal = "SIGINT"
stop_timeout = "1m"
max_lifetime = "2h"
[socket]
backlog = 10
reuse_port = true
v6only = true
freebind = true
bind_to_device = "lo"
keepalive = true
keepalive_time = "60s"
keepalive_interval = "10s"
keepalive_probes = 3
nodelay = true
defer_accept = "5s"
receive_buffer = "64K"
send_buffer = "1M"
priority = 6
tos = 16
mark = 7
mode = 0o660
[limits]
instances = 20
[prefork]
min_spare = 1
max_spare = 3
max_requests = 100
max_idle = "1m"
max_age = "1h"
grow_after = "20ms"
[delayed]
delay = "100ms"
[rlimits]
nofile = 64
core = "unlimited"
as = ["64M", "1G"]
[log]
connections = "all"
)");
    CHECK(service.description == "x");
    CHECK_FALSE(service.enabled);
    CHECK(service.handler.argv == std::vector<std::string>{"other"});
    CHECK(service.handler.umask == 027);
    CHECK(service.handler.nice == 5);
    CHECK(service.handler.error_output == Stderr::null);
    CHECK(service.stop_signal == SIGINT);
    CHECK(service.stop_timeout == 1min);
    CHECK(service.max_lifetime == 2h);
    SocketOptions socket;
    socket.backlog = 10;
    socket.reuse_port = socket.freebind = socket.keepalive = socket.nodelay = true;
    socket.v6only = true;
    socket.bind_to_device = "lo";
    socket.keepalive_time = 60s;
    socket.keepalive_interval = 10s;
    socket.keepalive_probes = 3;
    socket.defer_accept = 5s;
    socket.receive_buffer = 65536;
    socket.send_buffer = 1048576;
    socket.priority = 6;
    socket.tos = 16;
    socket.mark = 7;
    socket.mode = 0660;
    CHECK(service.socket == socket);
    CHECK(service.limits->instances == 20);
    CHECK(service.prefork == Prefork{1, 3, 100, 1min, 1h, 20ms});
    CHECK(service.delay == 100ms);
    CHECK(service.handler.rlimits == std::vector<ResourceLimit>{{RLIMIT_AS, 64 << 20, 1 << 30},
                                                                {RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY},
                                                                {RLIMIT_NOFILE, 64, 64}});
    CHECK(service.log_connections == LogConnections::all);
}

TEST_CASE("every key of the table is known to the parser, and its default has the key's type") {
    for (const Key& key : keys()) {
        INFO(key.full_name());
        CHECK_FALSE(key.description.empty());
        const std::string section = key.section.empty() ? "" : "[" + key.section + "]\n";
        const bool is_number = key.shape.type == Type::integer || key.shape.type == Type::boolean;
        std::string text = "1979-05-27";  // no key takes a date
        if (!key.fallback.empty()) text = is_number ? key.fallback : "\"" + key.fallback + "\"";
        const std::string needed = key.section == "proxy_protocol" && key.name != "from" ? "\nfrom = \"::1\"" : "";
        const std::string errors =
            key.required || key.name == "exec" ? "" : errors_of(section + key.name + " = " + text + needed);
        CHECK(errors.find("unknown") == std::string::npos);
        // What is there says nothing without a certificate, or a session.
        if (key.section == "tls" || key.name == "session_idle") continue;
        if (!key.required) CHECK(errors.empty() == !key.fallback.empty());
    }
}

TEST_CASE("an unknown key or section is an error with a suggestion") {
    check({{"nise = 1", "4:1: unknown key \"nise\" (did you mean \"nice\"?)"},
           {"banana = 1", "4:1: unknown key \"banana\""},
           {"instances = 5", "4:1: unknown key \"instances\" (did you mean \"limits.instances\"?)"},
           {"[limits]\ninstnces = 5", "5:1: unknown key \"limits.instnces\" (did you mean \"limits.instances\"?)"},
           {"limits.instnces = 5", "4:8: unknown key \"limits.instnces\" (did you mean \"limits.instances\"?)"},
           {"[access]\nalow = []", "5:1: unknown key \"access.alow\" (did you mean \"access.allow\"?)"},
           {"[limit]\ninstances = 5", "4:2: unknown section [limit] (did you mean [limits]?)"},
           {"[[socket]]\nbacklog = 5", "4:1: socket: expected a table, found an array"},
           {"socket = 5", "4:10: socket: expected a table, found an integer"}});
}

TEST_CASE("a slip in the name of a required key is one error, not two") {
    CHECK(errors_in("listen = \"tcp://127.0.0.1:1\"\nmodle = \"fork\"\nexec = [\"handler\"]\n") ==
          "2:1: unknown key \"modle\" (did you mean \"model\"?)\n");
}

TEST_CASE("a value of the wrong type says what was expected and what was found") {
    check({{"nice = \"5\"", "4:8: nice: expected an integer from -20 to 19, found a string"},
           {"nice = 1.5", "4:8: nice: expected an integer from -20 to 19, found a fraction"},
           {"user = 5", "4:8: user: expected a string, found an integer"},
           {"enabled = \"yes\"", "4:11: enabled: expected true or false, found a string"},
           {"stderr = true", "4:10: stderr: expected one of log, socket, null, inherit, found true or false"},
           {"stop_timeout = true", "4:16: stop_timeout: expected a duration such as \"10s\", found true or false"},
           {"environment = [\"A=b\"]", "4:15: environment: expected a table of strings, found an array"},
           {"environment.A = 1", "4:17: environment: expected a string, found an integer"},
           {"pass_environment = \"A\"", "4:20: pass_environment: expected an array of strings, found a string"},
           {"pass_environment = [\"A\", 2]", "4:26: pass_environment: expected a string, found an integer"},
           {"[argv0]", "4:1: argv0: expected a string, found a table"},
           {"description = 1979-05-27", "4:15: description: expected a string, found a date or time"}});
}

TEST_CASE("numbers have ranges, and the message shows them") {
    check({{"nice = 20", "4:8: nice 20 is out of range -20 to 19"},
           {"nice = -21", "4:8: nice -21 is out of range -20 to 19"},
           {"limits.instances = 0", "4:20: limits.instances 0 is out of range 1 to 1000000"},
           {"socket.backlog = 65536", "4:18: socket.backlog 65536 is out of range 1 to 65535"},
           {"socket.tos = 256", "4:14: socket.tos 256 is out of range 0 to 255"},
           {"socket.mark = 4294967296", "4:15: socket.mark 4294967296 is out of range 0 to 4294967295"},
           {"socket.receive_buffer = \"2G\"", "4:25: socket.receive_buffer \"2G\" is out of range 1 to 1G"},
           {"delayed.delay = \"2d\"", "4:17: delayed.delay \"2d\" is out of range 1ms to 1d"},
           {"socket.keepalive_time = \"1500ms\"", "4:25: socket.keepalive_time \"1500ms\" must be whole seconds"},
           {"socket.bind_to_device = \"sixteen-letters-\"", "4:25: socket.bind_to_device is longer than 15 bytes"},
           {"user = \"\"", "4:8: user is empty"},
           {"argv0 = \"a\\u0000b\"", "4:9: argv0 contains a NUL byte"}});
}

TEST_CASE("a number without its unit is an error that shows the right spelling") {
    check({{"stop_timeout = 10", "4:16: stop_timeout 10 has no unit: write a duration with its unit, such as \"10s\""},
           {"stop_timeout = \"10\"",
            "4:16: stop_timeout \"10\" has no unit: write a duration with its unit, such as \"10s\""},
           {"stop_timeout = \"ten\"",
            "4:16: stop_timeout \"ten\" is not a duration: write whole numbers with units (us, ms, s, m, h, d), "
            "largest first, "
            "such as \"1h30m\""},
           {"socket.send_buffer = 65536",
            "4:22: socket.send_buffer 65536 has no unit: write a size with its unit, such as \"64K\""},
           {"socket.send_buffer = \"1MB\"",
            "4:22: socket.send_buffer \"1MB\" is not a size: write a whole number with K, M, G or T, such as \"64K\""},
           {"socket.send_buffer = -5",
            "4:22: socket.send_buffer -5 has no unit: write a size with its unit, such as \"64K\""}});
}

TEST_CASE("permissions are octal, in quotes or as 0o660, and never decimal") {
    CHECK(service_of("umask = \"077\"").handler.umask == 077);
    CHECK(service_of("umask = 0o077").handler.umask == 077);
    CHECK(service_of("umask = 0").handler.umask == 0);
    check({{"umask = 22", "4:9: umask 22 is a decimal number: write its octal digits in quotes, such as \"022\""},
           {"socket.mode = 660",
            "4:15: socket.mode 660 is a decimal number: write its octal digits in quotes, such as \"0660\""},
           {"umask = \"089\"", "4:9: umask \"089\" is not octal: write digits from 0 to 7, such as \"0660\""},
           {"umask = \"-22\"", "4:9: umask \"-22\" is not octal: write digits from 0 to 7, such as \"0660\""},
           {"umask = \"1000\"", "4:9: umask \"1000\" is out of range 0000 to 0777"},
           {"umask = 0o1000", "4:9: umask 0o1000 is out of range 0000 to 0777"}});
}

TEST_CASE("a stop signal is a name with or without SIG, or a number") {
    CHECK(service_of("stop_signal = \"USR1\"").stop_signal == SIGUSR1);
    CHECK(service_of("stop_signal = \"SIGHUP\"").stop_signal == SIGHUP);
    CHECK(service_of("stop_signal = 9").stop_signal == SIGKILL);
    check({{"stop_signal = \"TREM\"",
            "4:15: stop_signal \"TREM\" is not a signal: write a name such as \"TERM\", or a number (did you mean "
            "\"TERM\"?)"},
           {"stop_signal = 0", "4:15: stop_signal 0 is out of range 1 to 64"}});
}

TEST_CASE("a resource limit is a number, a pair or unlimited") {
    check({{"rlimits.nofile = [10, 5]", "4:19: rlimits.nofile: the soft limit is above the hard one"},
           {"rlimits.nofile = [10]", "4:18: rlimits.nofile must be [soft, hard]: two limits, not 1"},
           {"rlimits.nofile = \"64K\"", "4:18: rlimits.nofile \"64K\" is neither a number nor \"unlimited\""},
           {"rlimits.nofile = -1", "4:18: rlimits.nofile -1 is negative"},
           {"rlimits.nofile = [\"unlimited\", 5]", "4:19: rlimits.nofile: the soft limit is above the hard one"},
           {"rlimits.as = \"lots\"",
            "4:14: rlimits.as \"lots\" is not a size: write a whole number with K, M, G or T, such as \"64K\", or "
            "\"unlimited\""},
           {"rlimits.bogus = 1", "4:9: unknown key \"rlimits.bogus\""}});
}

TEST_CASE("the rate of handlers' stderr and its burst are independent") {
    const auto of = [](const std::string& text) { return service_of(text).stderr_rate; };
    CHECK(of("") == Rate{1ms, 10'000});
    CHECK(of("[log]\nstderr_rate = \"10/s\"") == Rate{100ms, 10'000});
    CHECK(of("[log]\nstderr_burst = 5") == Rate{1ms, 5});
    check({{"stderr = \"null\"\n[log]\nstderr_burst = 5",
            "6:16: log.stderr_burst has no effect without stderr = \"log\""}});
}

}  // namespace superd::conf::values_tests
