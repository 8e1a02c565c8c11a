// SPDX-License-Identifier: MIT
// What an import writes passes check, except for programs, users, groups and port names that this machine lacks. Files
// are made from the grammar of each reader, with sound and unsound values in all places: SUPERD_ROUNDS of them for each
// reader.
#include <fmt/format.h>

#include <cstdlib>
#include <random>

#include "ctl/import/check.h"
#include "imported.h"
#include "tests/unit/conf/folder.h"

namespace superd::ctl::property_tests {

namespace {

unsigned rounds() {
    const char* asked = std::getenv("SUPERD_ROUNDS");
    return asked ? static_cast<unsigned>(std::atoi(asked)) : 200;
}

class Dice {
  public:
    explicit Dice(unsigned seed) : random_(seed) {}
    std::size_t below(std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most - 1)(random_); }
    bool one_in(std::size_t number) { return below(number) == 0; }
    std::string pick(const std::vector<std::string>& words) { return words[below(words.size())]; }
    /// Some of them, in order.
    std::string some(const std::vector<std::string>& words, const char* between) {
        std::string out;
        for (const std::string& word : words)
            if (one_in(2)) out += (out.empty() ? "" : between) + word;
        return out;
    }

  private:
    std::mt19937 random_;
};

using Words = std::vector<std::string>;
const Words numbers{"0", "1", "7", "40", "65535", "65536", "-1", "2147483648", "99999999999999999999", "x", ""};
const Words sizes{"1", "4k", "1m", "64K", "1M", "8G", "0", "x", "99999999999999999999", "18446744073709551615"};
const Words hosts{
    "127.0.0.1", "::1", "[::1]", "0.0.0.0", "::", "*", "localhost", "nowhere.example", "10.0.0.300", "fe80::1%lo"};
const Words lists{"10.0.0.0",     "10.0.0.0/8", "10.0.0.1", "192.168.{1,2}", "10.{300}",
                  ".example.org", "localhost",  "::1",      "fd00::/8",      "::ffff:1.2.3.4",
                  "ALL",          "0.0.0.0/0",  "::/0",     "1.2.3",         "a,b"};
const Words users{"root", "nobody", "0", "daemon", "nosuchuser", "65534"};
const Words programs{"/bin/sh", "/bin/true", "/no/such/program", "sh", "relative/sh", "", "/bin/../bin/sh", "internal"};
const Words times{"2:00-9:00", "0:0-23:59", "12:30-12:30", "9:00-8:00", "24:00-25:00"};

std::string port(Dice& dice) {
    return dice.one_in(8) ? dice.pick({"echo", "nosuchport", "0", "65536", "1/2", "tcpmux"})
                          : std::to_string(1024 + dice.below(60000));
}

std::string xinetd(Dice& dice) {
    const auto lines = [&](bool defaults) {
        std::string out;
        const auto line = [&](const char* name, const std::string& value) {
            if (dice.one_in(3))
                out += fmt::format("\t{} {} {}\n", name, dice.one_in(9) ? dice.pick({"+=", "-=", "=="}) : "=", value);
        };
        line("instances", dice.pick(numbers));
        line("per_source", dice.pick(numbers));
        line("cps", dice.pick(numbers) + " " + dice.pick(numbers));
        line("max_load", dice.pick({"2.5", "1e9", "1e300", "-3", "0", "x", "0.00001"}));
        line("umask", dice.pick({"027", "27", "999", "+7", "1777", "0"}));
        line("only_from", dice.some(lists, " "));
        line("no_access", dice.some(lists, " "));
        line("passenv", dice.pick({"TZ LANG", "A=B", "9", "SUPERD_SERVICE", ""}));
        line("bind", dice.pick(hosts));
        line("log_on_success", dice.pick({"PID HOST", "all", ""}));
        line("v6only", dice.pick({"yes", "no", "maybe"}));
        if (defaults) return out;
        line("flags", dice.some({"IPv4", "IPv6", "nodelay", "KEEPALIVE", "NAMEINARGS", "NOLIBWRAP", "IDONLY"}, " "));
        line("type", dice.pick({"INTERNAL", "UNLISTED", "INTERNAL UNLISTED", "RPC", "what"}));
        line("nice", dice.pick({"5", "-20", "20", "-99", "99999"}));
        line("group", dice.pick(users));
        line("groups", dice.pick({"yes", "no"}));
        line("env", dice.pick({"A=1 B=2", "A", "=x", "9a=1", "REMOTE_HOST=x", "A=\"\\"}));
        line("access_times", dice.some(times, " "));
        line("server_args", dice.pick({"a b", "\"x\"", "\\", ""}));
        for (const char* limit : {"rlimit_as", "rlimit_cpu", "rlimit_data", "rlimit_stack", "rlimit_files"})
            line(limit, dice.one_in(3) ? "UNLIMITED" : dice.pick(sizes));
        line("disable", dice.pick({"yes", "no", "True"}));
        line("id", dice.pick({"other", "a/b", "..", "\"", "-x"}));
        line("protocol", dice.pick({"tcp", "udp", "sctp"}));
        return out;
    };
    std::string out;
    if (dice.one_in(2)) out += "defaults\n{\n" + lines(true) + "}\n";
    for (std::size_t count = 1 + dice.below(3); count > 0; --count) {
        out += fmt::format("service {}\n{{\n\tport = {}\n\tsocket_type = {}\n\twait = {}\n\tuser = {}\n\tserver = {}\n",
                           dice.pick({"one", "two", "echo", "a b", "x/y"}), port(dice), dice.pick({"stream", "dgram"}),
                           dice.pick({"yes", "no"}), dice.pick(users), dice.pick(programs));
        if (dice.one_in(2)) out += "\ttype = UNLISTED\n";
        out += lines(false) + "}\n";
    }
    return out;
}

std::string inetd(Dice& dice) {
    std::string out;
    for (std::size_t count = 1 + dice.below(4); count > 0; --count) {
        if (dice.one_in(8)) out += dice.pick(hosts) + ":\n";
        if (dice.one_in(5)) {
            out += fmt::format(
                "{}{} {} protocol = {}, wait = {}, user = {}, exec = {}, args = a \"b\\x41\", service_max = {}, ip_max "
                "= {}, "
                "sndbuf = {}, accept_max = {};\n",
                dice.one_in(2) ? dice.pick(hosts) + ":" : "", port(dice), dice.pick({"on", "off"}),
                dice.pick({"tcp", "tcp4", "tcp6", "udp4"}), dice.pick({"yes", "no"}), dice.pick(users),
                dice.pick(programs), dice.pick(numbers), dice.pick(numbers), dice.pick(sizes), dice.pick(numbers));
            continue;
        }
        const bool path = dice.one_in(8);
        out += fmt::format(
            "{}{} {} {}{} {}{} {}{} {} a {}\n", dice.one_in(4) && !path ? dice.some(hosts, ",") + ":" : "",
            path ? dice.pick({"/run/a", ":root:daemon:660:/run/b", ":x:y:999:/run/c", "/", "relative"}) : port(dice),
            dice.pick({"stream", "dgram", "stream,5", "raw", "seqpacket"}),
            path ? "unix" : dice.pick({"tcp", "tcp4", "tcp6", "tcp46", "tcp6only", "udp", "udp6", "sctp", "rpc/udp"}),
            dice.one_in(5) ? ",rcvbuf=" + dice.pick(sizes) : "", dice.pick({"wait", "nowait"}),
            dice.one_in(3)
                ? dice.pick({".", ":", "/"}) + dice.pick(numbers) + "/" + dice.pick(numbers) + "/" + dice.pick(numbers)
                : "",
            dice.pick(users), dice.one_in(3) ? dice.pick({":", "."}) + dice.pick(users) : "", dice.pick(programs),
            dice.pick({"", "\"b c\"", "'d", "\\"}));
    }
    return out;
}

Units systemd(Dice& dice) {
    const auto assign = [&](std::string& out, const char* key, const std::string& text) {
        if (dice.one_in(3)) out += fmt::format("{}={}\n", key, text);
    };
    std::string socket = "[Unit]\nDescription=a \"b\\\n[Socket]\n", service = "[Service]\n";
    for (std::size_t count = 1 + dice.below(2); count > 0; --count)
        socket += fmt::format(
            "{}={}\n", dice.pick({"ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO"}),
            dice.pick({port(dice), "127.0.0.1:" + port(dice), "[::1]:" + port(dice), "[fe80::1]:7%%lo", "/run/%p", "@x",
                       "vsock:2:80", "vsock::9", "host:80", "%i", "/run/" + std::string(200, 'x')}));
    for (const char* flag :
         {"Accept", "KeepAlive", "NoDelay", "ReusePort", "FreeBind", "Transparent", "Broadcast", "BindIPv6Only"})
        assign(socket, flag, dice.pick({"yes", "no", "1", "maybe", "ipv6-only"}));
    for (const char* number :
         {"Backlog", "MaxConnections", "MaxConnectionsPerSource", "KeepAliveProbes", "Priority", "Mark", "IPTOS"})
        assign(socket, number, dice.pick(numbers));
    for (const char* size : {"ReceiveBuffer", "SendBuffer"}) assign(socket, size, dice.pick(sizes));
    for (const char* time : {"KeepAliveTimeSec", "KeepAliveIntervalSec", "DeferAcceptSec"})
        assign(socket, time, dice.pick({"1", "5min 20s", "1us", "0", "infinity", "99999w", "x"}));
    for (const char* name : {"SocketUser", "SocketGroup"}) assign(socket, name, dice.pick(users));
    assign(socket, "SocketMode", dice.pick({"0660", "666", "99", "07777", "x"}));
    assign(socket, "BindToDevice", dice.pick({"lo", "a name that is too long for one", ""}));
    for (std::string* unit : {&socket, &service}) {
        assign(*unit, "IPAddressDeny", dice.some(lists, " ") + dice.pick({"", " any", " multicast"}));
        assign(*unit, "IPAddressAllow", dice.some(lists, " ") + dice.pick({"", " any", " localhost"}));
    }
    service += fmt::format("ExecStart={}{} {}\n", dice.pick({"", "-", "+", "@", ":"}), dice.pick(programs),
                           dice.pick({"a", "\"b\\x41\"", "$X", "%i", "%n", "a ; b"}));
    if (dice.one_in(2)) service += "StandardInput=socket\n";
    for (const char* name : {"User", "Group", "SupplementaryGroups"}) assign(service, name, dice.pick(users));
    for (const char* time : {"TimeoutStopSec", "RuntimeMaxSec"})
        assign(service, time, dice.pick({"0", "5", "infinity", "1us", "999w"}));
    for (const char* limit : {"LimitNOFILE", "LimitAS", "LimitCPU", "LimitCORE", "LimitNPROC"})
        assign(service, limit, dice.one_in(2) ? dice.pick(sizes) : dice.pick(sizes) + ":" + dice.pick(sizes));
    assign(service, "UMask", dice.pick({"0077", "77", "999", "x"}));
    assign(service, "Nice", dice.pick({"5", "-20", "20", "999"}));
    assign(service, "KillSignal", dice.pick({"SIGINT", "TERM", "9", "SIGNOPE", "RTMIN+3"}));
    assign(service, "WorkingDirectory", dice.pick({"/", "-/tmp", "~", "relative", "/no/such"}));
    assign(service, "RootDirectory", dice.pick({"/", "/no/such", "relative"}));
    assign(service, "Environment", dice.pick({"A=1", "\"B=x y\" C=3", "9=1", "PROTO=TCP", "\"open"}));
    assign(service, "PassEnvironment", dice.pick({"TZ", "A=B", "\"open"}));
    assign(service, "StandardOutput", dice.pick({"socket", "null", "journal"}));
    for (const char* limit : {"MemoryMax", "MemoryHigh", "TasksMax", "CPUQuota", "CPUWeight", "IOWeight"})
        assign(service, limit, dice.one_in(2) ? dice.pick(sizes) : dice.pick({"50%", "150%", "infinity", "7", "x"}));
    assign(service, "KillMode", dice.pick({"process", "mixed", "control-group", "none", "x"}));
    assign(service, "NoNewPrivileges", dice.pick({"yes", "x"}));
    Units units;
    units.files = {{"a.socket", {"/u/a.socket", socket}},
                   {"a.service", {"/u/a.service", service}},
                   {"a@.service", {"/u/a@.service", service}}};
    return units;
}

Words command(Dice& dice) {
    const Words hosts_of_commands{"0", "127.0.0.1", "::1", "localhost", "nowhere.example"};
    switch (dice.below(4)) {
        case 0: {
            Words out{dice.pick({"tcpserver", "tcpsvd", "udpsvd"})};
            for (const char* option : {"-c", "-b", "-u", "-g", "-C", "-l", "-t"})
                if (dice.one_in(3))
                    out.insert(out.end(), {option, dice.one_in(2) ? dice.pick(numbers)
                                                                  : dice.pick(users) + ":" + dice.pick(users)});
            for (const char* flag : {"-H", "-vR", "-p", "-D"})
                if (dice.one_in(3)) out.emplace_back(flag);
            out.insert(out.end(), {dice.pick(hosts_of_commands), port(dice), dice.pick(programs), "x"});
            return out;
        }
        case 1:
            return {
                "socat",
                fmt::format("{}:{},fork,backlog={},max-children={},bind={},mode={},range={},su={}",
                            dice.pick({"TCP-LISTEN", "TCP6-LISTEN", "UDP-RECVFROM", "UNIX-LISTEN", "OPENSSL-LISTEN"}),
                            port(dice), dice.pick(numbers), dice.pick(numbers), dice.pick(hosts_of_commands),
                            dice.pick({"660", "999", "x"}), dice.pick(lists), dice.pick(users)),
                fmt::format("{}:{},{}", dice.pick({"EXEC", "SYSTEM", "TCP"}), dice.pick(programs),
                            dice.pick({"pty", "stderr", "chroot=/x", "su=nobody"}))};
        case 2:
            return {"ncat",
                    "-lk",
                    "-p",
                    port(dice),
                    "--allow",
                    dice.some(lists, ","),
                    "-m",
                    dice.pick(numbers),
                    dice.pick({"-e", "-c"}),
                    dice.pick(programs),
                    dice.pick({"-4", "-6", "-v", "-u"})};
        default:
            return {"systemd-socket-activate",
                    "-l",
                    dice.pick({port(dice), "[::1]:" + port(dice), "/run/a", "@x"}),
                    dice.pick({"-a", "-d", "--now"}),
                    "--inetd",
                    "-E",
                    dice.pick({"A=1", "TZ", "9=1"}),
                    dice.pick(programs)};
    }
}

/// What only another machine may have, or only root.
bool is_of_this_machine(const std::string& message) {
    for (const char* words : {"does not exist", "no such user", "no such group", "services database", "is in none of"})
        if (message.find(words) != std::string::npos) return true;
    return false;
}

/// Writes what was imported and runs check on it.
void passes_check(Import import, const std::string& source) {
    conf::test::Folder folder;
    conf::Surroundings from = folder.surroundings();
    from.uid = 0;
    from.gid = 0;
    from.environment = {"PATH=/usr/bin:/bin"};
    fit(import, from);
    settle_conflicts(import, from, "", {});
    for (const Imported& service : import.services) folder.define(service.name, definition_text(service));
    const auto loaded = conf::load(from);
    if (loaded) return;
    for (const conf::Diagnostic& error : loaded.error()) {
        INFO(source << "\n" << conf::format(error));
        REQUIRE(is_of_this_machine(error.message));
        const bool said =
            std::ranges::any_of(import.notes, [&](const Note& note) { return note.fate == Fate::missing; });
        REQUIRE(said);
    }
}

}  // namespace

TEST_CASE("property: what is imported from xinetd's grammar passes check") {
    for (unsigned round = 0; round < rounds(); ++round) {
        Dice dice(round);
        const std::string text = xinetd(dice);
        passes_check(import_xinetd("xinetd.conf", text, machine()), text);
    }
}

TEST_CASE("property: what is imported from inetd's grammar passes check") {
    constexpr Dialect all[] = {Dialect::bsd, Dialect::openbsd, Dialect::netbsd, Dialect::freebsd, Dialect::gnu};
    for (unsigned round = 0; round < rounds(); ++round) {
        Dice dice(round);
        const std::string text = inetd(dice);
        passes_check(import_inetd("inetd.conf", text, machine(), all[round % 5]), text);
    }
}

TEST_CASE("property: what is imported from units passes check") {
    for (unsigned round = 0; round < rounds(); ++round) {
        Dice dice(round);
        const Units units = systemd(dice);
        passes_check(import_systemd(units), units.files.at("a.socket").text + units.files.at("a.service").text);
    }
}

TEST_CASE("property: what is imported from command lines passes check") {
    for (unsigned round = 0; round < rounds(); ++round) {
        Dice dice(round);
        const Words words = command(dice);
        std::string text;
        for (const std::string& word : words) text += word + "\n";
        passes_check(import_command(words, machine()), text);
    }
}

}  // namespace superd::ctl::property_tests
