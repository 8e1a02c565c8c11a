// SPDX-License-Identifier: MIT
#include <map>

#include "ctl/import/unit.h"
#include "imported.h"

namespace superd::ctl::systemd_tests {

namespace {

Import from(const std::map<std::string, std::string>& files,
            const std::map<std::string, std::vector<std::string>>& drop_ins = {}) {
    Units units;
    for (const auto& [name, text] : files) units.files[name] = {"/u/" + name, text};
    for (const auto& [name, texts] : drop_ins) {
        for (const std::string& text : texts) units.drop_ins[name].push_back({"/u/" + name + ".d/x.conf", text});
    }
    return import_systemd(units);
}

/// A socket and its instance service, with these additional lines.
Import accepting(const std::string& socket, const std::string& service) {
    return from({{"a.socket", "[Socket]\nAccept=yes\nListenStream=7\n" + socket},
                 {"a@.service", "[Service]\nExecStart=/bin/a\nStandardInput=socket\n" + service}});
}

/// A socket that is handed over, and its service.
Import listening(const std::string& socket, const std::string& service) {
    return from({{"a.socket", "[Socket]\n" + socket}, {"a.service", "[Service]\n" + service}});
}

Result<unit::Command> command(std::string_view text, const std::map<std::string, std::string>& environment = {}) {
    return unit::command_of(text, unit::Specifiers("a@.service"), environment);
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("systemd: Accept=yes is a handler for each connection, run as root unless User= says otherwise") {
    const Import import = accepting("MaxConnections=5\nMaxConnectionsPerSource=2\n", "");
    const Imported& a = service(import, "a");
    CHECK(value(a, "listen") == R"("tcp://*:7")");
    CHECK(value(a, "model") == R"("fork")");
    CHECK(value(a, "handoff").empty());
    CHECK(value(a, "exec") == R"(["/bin/a"])");
    CHECK(value(a, "user") == R"("root")");
    CHECK(value(a, "limits.instances") == "5");
    CHECK(value(a, "limits.per_source") == "2");
    CHECK(import.notes.empty());
}

TEST_CASE("systemd: Accept=no hands over the listening socket until the handler exits") {
    const Import import = listening("ListenStream=7\n", "ExecStart=/bin/a\nUser=www\nGroup=web\n");
    CHECK(value(service(import, "a"), "model") == R"("iterative")");
    CHECK(value(service(import, "a"), "handoff") == R"("listen")");
    CHECK(value(service(import, "a"), "user") == R"("www")");
    CHECK(value(service(import, "a"), "group") == R"("web")");
    const Import datagrams = listening("ListenDatagram=69\n", "ExecStart=/bin/a\n");
    CHECK(value(service(datagrams, "a"), "listen") == R"("udp://*:69")");
    CHECK(value(service(datagrams, "a"), "model") == R"("iterative")");
    CHECK(value(service(datagrams, "a"), "handoff").empty());
}

TEST_CASE("systemd: systemd-socket-proxyd is superd-proxy, one process for all connections, while there are any") {
    const auto proxied = [](const std::string& words) {
        return listening("ListenStream=80\n", "ExecStart=/usr/lib/systemd/systemd-socket-proxyd " + words + "\n");
    };
    const Import import = proxied("--exit-idle-time=5min -c 99 app.example.org:8080");
    const Imported& a = service(import, "a");
    CHECK(value(a, "exec") == R"(["superd-proxy", "--connections-max", "99", "tcp://app.example.org:8080"])");
    CHECK(value(a, "model") == R"("prefork")");
    CHECK(value(a, "handoff") == R"("listen")");
    CHECK(value(a, "limits.instances") == "1");
    CHECK(value(a, "prefork.min_spare") == "0");
    CHECK(value(a, "prefork.max_idle") == R"("300000ms")");
    for (const auto& [words, target] : std::map<std::string, std::string>{{"/run/app.sock", "unix:///run/app.sock"},
                                                                          {"@app", "unix://@app"},
                                                                          {"app", "tcp://app:80"},
                                                                          {"10.0.0.1:81", "tcp://10.0.0.1:81"},
                                                                          {"[::1]:81", "tcp://[::1]:81"},
                                                                          {"[::1]", "tcp://[::1]:80"}}) {
        INFO(words);
        CHECK(value(service(proxied(words), "a"), "exec") == "[\"superd-proxy\", \"" + target + "\"]");
    }
    CHECK(proxied("").services.empty());
}

TEST_CASE("systemd: a handler that expects its connection at descriptor 3 is written switched off") {
    const Import import = from({{"a.socket", "[Socket]\nAccept=yes\nListenStream=7\n"},
                                {"a@.service", "[Service]\nExecStart=/bin/a\nStandardInput=null\n"}});
    CHECK_FALSE(service(import, "a").enabled());
    CHECK(notes(import, 3, Fate::disabled, "descriptor 3") == 1);
}

TEST_CASE("systemd: each form of address") {
    const auto uri = [](const char* key, const char* text, bool only = false) {
        const auto read = unit::listen_uri(key, text, only);
        return read ? *read : read.error().text;
    };
    CHECK(uri("ListenStream", "80") == "tcp://*:80");
    CHECK(uri("ListenStream", "80", true) == "tcp://[::]:80");
    CHECK(uri("ListenStream", "127.0.0.1:80") == "tcp://127.0.0.1:80");
    CHECK(uri("ListenDatagram", "[::1]:80") == "udp://[::1]:80");
    CHECK(uri("ListenStream", "[::]:80") == "tcp://*:80");
    CHECK(uri("ListenStream", "[::]:80", true) == "tcp://[::]:80");
    CHECK(uri("ListenStream", "/run/a") == "unix:///run/a");
    CHECK(uri("ListenDatagram", "@a") == "unix-dgram://@a");
    CHECK(uri("ListenSequentialPacket", "/run/a") == "unix-seqpacket:///run/a");
    CHECK(uri("ListenStream", "vsock:2:80") == "vsock://2:80");
    CHECK(uri("ListenStream", "vsock::80") == "vsock://*:80");
    CHECK(uri("ListenStream", "[fe80::1]:80%eth0") == "tcp://[fe80::1%eth0]:80");
    CHECK(uri("ListenStream", "[fe80::1%eth0]:80") == "tcp://[fe80::1%eth0]:80");
    CHECK(uri("ListenSequentialPacket", "80") == "superd serves seqpacket only on unix sockets");
    CHECK(uri("ListenStream", "host:80") == "superd does not support such sockets");
}

TEST_CASE("systemd: several sockets with connections are one service, several listening sockets one service each") {
    const Import one = accepting("ListenStream=127.0.0.1:8\nListenStream=/run/a\n", "");
    CHECK(value(service(one, "a"), "listen") == R"(["tcp://*:7", "tcp://127.0.0.1:8", "unix:///run/a"])");
    const Import two = listening("ListenStream=8\nListenDatagram=8\nListenFIFO=/run/f\n", "ExecStart=/bin/a\n");
    CHECK(value(service(two, "a"), "listen") == R"("tcp://*:8")");
    CHECK(value(service(two, "a-udp"), "listen") == R"("udp://*:8")");
    CHECK(notes(two, 2, Fate::changed, "one of 2 sockets") == 1);
    CHECK(notes(two, 4, Fate::lost, "ListenFIFO=/run/f") == 1);
}

TEST_CASE("systemd: a socket without a service, without sockets, or with its own instances is reported") {
    const Import import = from({{"a.socket", "[Socket]\nListenStream=7\nService=b.service\n"},
                                {"c.socket", "[Socket]\nListenFIFO=/run/f\n"},
                                {"d@.socket", "[Socket]\nListenStream=7\n"},
                                {"e.socket", "[Socket]\nListenStream=7\nSocketProtocol=sctp\n"},
                                {"f.socket", "[Socket]\nListenStream=7\n"},
                                {"f.service", "[Service]\nUser=x\n"}});
    CHECK(import.services.empty());
    CHECK(notes(import, 0, Fate::skipped, "b.service, which is not among the given files") == 1);
    CHECK(notes(import, 0, Fate::skipped, "no socket left") == 1);
    CHECK(notes(import, 0, Fate::skipped, "template") == 1);
    CHECK(notes(import, 0, Fate::skipped, "sctp") == 1);
    CHECK(notes(import, 0, Fate::skipped, "no ExecStart") == 1);
}

TEST_CASE("systemd: drop-ins add, replace, and take back by an empty value") {
    const Import import = from({{"a.socket", "[Socket]\nListenStream=7\nAccept=yes\nBacklog=5\n"},
                                {"a@.service", "[Service]\nExecStart=/bin/a\nStandardInput=socket\nNice=5\n"}},
                               {{"a.socket", {"[Socket]\nListenStream=\nListenStream=8\n", "[Socket]\nBacklog=9\n"}},
                                {"a@.service", {"[Service]\nExecStart=\nExecStart=/bin/b\nNice=\n"}}});
    const Imported& a = service(import, "a");
    CHECK(value(a, "listen") == R"("tcp://*:8")");
    CHECK(value(a, "socket.backlog") == "9");
    CHECK(value(a, "exec") == R"(["/bin/b"])");
    CHECK(value(a, "nice").empty());
    CHECK(import.notes.empty());
}

TEST_CASE("systemd: socket options are carried over, and those without an equivalent are reported") {
    const Import import = accepting(
        "KeepAlive=yes\nKeepAliveTimeSec=2min\nKeepAliveIntervalSec=75\nKeepAliveProbes=9\nNoDelay=1\n"
        "DeferAcceptSec=5\nReusePort=true\nFreeBind=on\nBindToDevice=eth0\nReceiveBuffer=8M\nSendBuffer=1000\n"
        "IPTOS=low-delay\nMark=7\nPriority=3\nSocketMode=0660\nSocketUser=u\nSocketGroup=g\nBacklog=4294967295\n"
        "Transparent=yes\nIPTTL=9\nTCPCongestion=reno\nSocketProtocol=mptcp\nBroadcast=no\nPassPacketInfo=yes\n"
        "TriggerLimitBurst=20\nFileDescriptorName=x\nKeepAlive=maybe\n",
        "");
    const Imported& a = service(import, "a");
    const std::map<std::string, std::string> expected{{"keepalive_time", R"("2m")"},
                                                      {"keepalive_interval", R"("1m15s")"},
                                                      {"keepalive_probes", "9"},
                                                      {"nodelay", "true"},
                                                      {"defer_accept", R"("5s")"},
                                                      {"reuse_port", "true"},
                                                      {"freebind", "true"},
                                                      {"bind_to_device", R"("eth0")"},
                                                      {"receive_buffer", R"("8M")"},
                                                      {"send_buffer", R"("1K")"},
                                                      {"tos", "16"},
                                                      {"mark", "7"},
                                                      {"priority", "3"},
                                                      {"mode", R"("0660")"},
                                                      {"user", R"("u")"},
                                                      {"group", R"("g")"},
                                                      {"transparent", "true"},
                                                      {"ttl", "9"},
                                                      {"congestion", R"("reno")"},
                                                      {"mptcp", "true"},
                                                      {"backlog", "65535"}};
    for (const auto& [key, text] : expected) {
        INFO(key);
        CHECK(value(a, "socket." + key) == text);
    }
    CHECK(value(a, "socket.broadcast").empty());
    CHECK(notes(import, 27, Fate::lost, "PassPacketInfo=yes") == 1);
    CHECK(notes(import, 28, Fate::lost, "TriggerLimitBurst=20") == 1);
    CHECK(notes(import, 30, Fate::lost, "KeepAlive=maybe") == 1);
    CHECK(import.notes.size() == 3);
}

TEST_CASE("systemd: service settings are carried over, and those without an equivalent are reported") {
    const Import import = accepting(
        "",
        "WorkingDirectory=-/srv\nUMask=0077\nNice=-5\nKillSignal=SIGINT\nTimeoutStopSec=1min 30s\nRuntimeMaxSec=1h\n"
        "LimitNOFILE=1024:4096\nLimitCORE=infinity\nLimitAS=4G\nLimitCPU=1min\nLimitRTPRIO=1\n"
        "Environment=A=1 \"B=x y\" C\nPassEnvironment=TZ\nSupplementaryGroups=g\nStandardOutput=socket\n"
        "Type=forking\nPrivateUsers=yes\nExecStartPre=/bin/b\nEnvironmentFile=-/etc/default/a\n");
    const Imported& a = service(import, "a");
    CHECK(value(a, "working_directory") == R"("/srv")");
    CHECK(value(a, "umask") == R"("0077")");
    CHECK(value(a, "nice") == "-5");
    CHECK(value(a, "stop_signal") == R"("INT")");
    CHECK(value(a, "stop_timeout") == R"("1m30s")");
    CHECK(value(a, "max_lifetime") == R"("1h")");
    CHECK(value(a, "rlimits.nofile") == "[1024, 4096]");
    CHECK(value(a, "rlimits.core") == R"("unlimited")");
    CHECK(value(a, "rlimits.as") == "4294967296");
    CHECK(value(a, "rlimits.cpu") == "60");
    CHECK(value(a, "environment.A") == R"("1")");
    CHECK(value(a, "environment.B") == R"("x y")");
    CHECK(value(a, "pass_environment") == R"(["TZ"])");
    CHECK(value(a, "supplementary_groups") == R"(["g"])");
    CHECK(value(a, "stderr") == R"("socket")");
    CHECK(notes(import, 14, Fate::lost, "LimitRTPRIO=1") == 1);
    CHECK(notes(import, 15, Fate::lost, "\"C\" is not NAME=VALUE") == 1);
    CHECK(notes(import, 19, Fate::lost, "Type=forking") == 1);
    CHECK(notes(import, 20, Fate::lost, "confine") == 1);
    CHECK(notes(import, 21, Fate::lost, "ExecStartPre") == 1);
    CHECK(notes(import, 22, Fate::lost, "EnvironmentFile") == 1);
    CHECK(import.notes.size() == 6);
}

TEST_CASE("systemd: IPAddressAllow and IPAddressDeny decide the same for each address") {
    const Import any = accepting("", "IPAddressDeny=any\nIPAddressAllow=localhost\n");
    CHECK(value(service(any, "a"), "access.allow") == R"(["127.0.0.0/8", "::1"])");
    // An address in neither list is let in, and so is one in both.
    const Import some = accepting("", "IPAddressDeny=10.0.0.0/8\nIPAddressAllow=10.1.0.0/16\n");
    CHECK(value(service(some, "a"), "access.allow") == R"(["10.1.0.0/16", "0.0.0.0/0", "::/0"])");
    CHECK(value(service(some, "a"), "access.deny") == R"(["10.0.0.0/8"])");
    const Import wide = accepting("", "IPAddressDeny=10.1.0.0/16\nIPAddressAllow=10.0.0.0/8\n");
    CHECK(value(service(wide, "a"), "access.deny").empty());
    const Import allow = accepting("", "IPAddressAllow=10.0.0.0/8\n");
    CHECK(value(service(allow, "a"), "access.allow").empty());
    CHECK(notes(allow, 4, Fate::changed, "denies nobody") == 1);
}

TEST_CASE("systemd: clients that the socket's, the service's or a slice's list keeps out stay out") {
    const Import socket = accepting("IPAddressDeny=10.0.0.0/8\n", "IPAddressDeny=192.168.0.0/16\n");
    CHECK(value(service(socket, "a"), "access.deny") == R"(["10.0.0.0/8", "192.168.0.0/16"])");
    const Import slices = from({{"a.socket", "[Socket]\nAccept=yes\nListenStream=7\nSlice=x-y.slice\n"},
                                {"a@.service", "[Service]\nExecStart=/bin/a\nStandardInput=socket\n"},
                                {"x.slice", "[Slice]\nIPAddressDeny=any\n"},
                                {"x-y.slice", "[Slice]\nIPAddressAllow=10.0.0.0/8\n"},
                                {"z.slice", "[Slice]\nIPAddressAllow=any\n"}});
    CHECK(value(service(slices, "a"), "access.allow") == R"(["10.0.0.0/8"])");
    const Import broken = accepting("IPAddressDeny=somewhere\n", "");
    CHECK_FALSE(service(broken, "a").enabled());
    CHECK(notes(broken, 4, Fate::disabled, "somewhere") == 1);
    // The default slice also counts.
    const Import system = from({{"a.socket", "[Socket]\nListenStream=7\n"},
                                {"a.service", "[Service]\nExecStart=/bin/a\n"},
                                {"system.slice", "[Slice]\nIPAddressDeny=10.0.0.0/8\n"}});
    CHECK(value(service(system, "a"), "access.deny") == R"(["10.0.0.0/8"])");
}

TEST_CASE("systemd: instances of a template, and specifiers in addresses and commands") {
    const Import import = from({{"a@.socket", "[Socket]\nListenStream=/run/%p/%i.sock\n"},
                                {"a@b-c.socket", "[Socket]\nListenStream=/run/%p/%i.sock\n"},
                                {"a@.service", "[Service]\nExecStart=/bin/a %i %I %n %% %t %x\n"}},
                               {{"a@.socket", {"[Socket]\nBacklog=5\n"}}});
    const Imported& a = service(import, "a@b-c");
    CHECK(value(a, "listen") == R"("unix:///run/a/b-c.sock")");
    CHECK(value(a, "exec") == R"(["/bin/a", "b-c", "b/c", "a@b-c.service", "%", "/run", "%x"])");
    CHECK(value(a, "socket.backlog") == "5");
    CHECK(notes(import, 0, Fate::skipped, "template") == 1);
}

TEST_CASE("systemd: a setting with a counterpart is carried over by that key's type, or reported as lost") {
    const Import import = accepting(
        "Mark=7\nPriority=six\nReceiveBuffer=100\nKeepAliveTimeSec=soon\nNoDelay=perhaps\nIPTOS=low-delay\n",
        "Nice=-5\nUMask=0027\nKillSignal=SIGINT\nTimeoutStopSec=1min 30s\nRuntimeMaxSec=infinity\nLimitNOFILE=64:128\n"
        "LimitCORE=infinity\nLimitCPU=2min\nLimitAS=1:2:3\nLimitNPROC=few\nLimitNICE=5\n");
    const Imported& a = service(import, "a");
    CHECK(value(a, "socket.mark") == "7");
    CHECK(value(a, "socket.receive_buffer") == R"("1K")");
    CHECK(value(a, "socket.tos") == "16");
    CHECK(value(a, "nice") == "-5");
    CHECK(value(a, "umask") == R"("0027")");
    CHECK(value(a, "stop_signal") == R"("INT")");
    CHECK(value(a, "stop_timeout") == R"("1m30s")");
    CHECK(value(a, "rlimits.nofile") == "[64, 128]");
    CHECK(value(a, "rlimits.core") == R"("unlimited")");
    CHECK(value(a, "rlimits.cpu") == "120");
    for (const char* key : {"socket.priority", "socket.keepalive_time", "socket.nodelay", "max_lifetime", "rlimits.as",
                            "rlimits.nproc"}) {
        INFO(key);
        CHECK_FALSE(a.has(key));
    }
    const auto lost = [&](std::string_view words) {
        return std::ranges::count_if(import.notes, [&](const Note& note) {
            return note.fate == Fate::lost && note.text.find(words) != std::string::npos;
        });
    };
    for (const char* what :
         {"Priority=six: is not", "KeepAliveTimeSec=soon: is not", "NoDelay=perhaps: is not", "LimitAS=1:2:3: is not",
          "LimitNPROC=few: is not", "LimitNICE=5: superd has no such limit"}) {
        INFO(what);
        CHECK(lost(what) == 1);
    }
    CHECK(lost("RuntimeMaxSec") == 0);
}

TEST_CASE("systemd: what confines a handler is carried over") {
    const Import import = accepting(
        "Symlinks=/run/b\nFlushPending=yes\n",
        "NoNewPrivileges=yes\nPrivateTmp=on\nProtectSystem=strict\nProtectHome=no\nProtectProc=invisible\n"
        "ReadWritePaths=-/srv/%p +/var/x\nReadWritePaths=/y\nStateDirectory=%p\nRestrictNamespaces=~user mnt\n"
        "RestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=AF_INET6\nSystemCallErrorNumber=EPERM\n"
        "KeyringMode=private\nSlice=other.slice\n");
    CHECK(notes(import, 4, Fate::lost, "Symlinks=") == 1);
    CHECK(notes(import, 5, Fate::lost, "FlushPending=") == 1);
    CHECK(import.notes.size() == 2);
    const Imported& a = service(import, "a");
    CHECK(value(a, "sandbox.no_new_privileges") == "true");
    CHECK(value(a, "sandbox.private_tmp") == "true");
    CHECK(value(a, "sandbox.protect_system") == R"("strict")");
    CHECK(value(a, "sandbox.protect_home") == "false");
    CHECK(value(a, "sandbox.protect_proc") == R"("invisible")");
    CHECK(value(a, "sandbox.read_write_paths") == R"(["-/srv/a", "/var/x", "/y"])");
    CHECK(value(a, "sandbox.state_directory") == R"("a")");
    CHECK(value(a, "sandbox.restrict_namespaces") == R"(["~user", "mnt"])");
    CHECK(value(a, "sandbox.restrict_address_families") == R"(["AF_UNIX", "AF_INET", "AF_INET6"])");
    CHECK(value(a, "sandbox.syscall_error") == R"("EPERM")");
}

TEST_CASE("systemd: lines of capabilities and system calls are merged as systemd does") {
    const auto with = [](const std::string& lines) { return accepting("", lines); };
    const auto capabilities = [&](const std::string& lines) {
        return value(service(with(lines), "a"), "sandbox.capabilities");
    };
    CHECK(capabilities("CapabilityBoundingSet=CAP_CHOWN CAP_KILL\n") == R"(["CHOWN", "KILL"])");
    CHECK(capabilities("CapabilityBoundingSet=~CAP_CHOWN\nCapabilityBoundingSet=~CAP_KILL\n") ==
          R"(["~CHOWN", "KILL"])");
    CHECK(capabilities("CapabilityBoundingSet=CAP_CHOWN CAP_KILL\nCapabilityBoundingSet=~CAP_KILL\n") ==
          R"(["CHOWN"])");
    CHECK(capabilities("CapabilityBoundingSet=\n") == "[]");
    CHECK(notes(with("CapabilityBoundingSet=CAP_NO_SUCH\n"), 4, Fate::lost, "is not a capability") == 1);
    CHECK(value(service(with("AmbientCapabilities=CAP_NET_BIND_SERVICE\n"), "a"), "sandbox.ambient_capabilities") ==
          R"(["NET_BIND_SERVICE"])");

    const auto calls = [&](const std::string& lines) { return value(service(with(lines), "a"), "sandbox.syscalls"); };
    CHECK(calls("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n") ==
          R"(["@system-service", "~@privileged", "~@resources"])");
    CHECK(calls("SystemCallFilter=~@mount ptrace\nSystemCallFilter=~reboot\n") == R"(["~@mount", "ptrace", "reboot"])");
    CHECK(notes(with("SystemCallFilter=~@mount\nSystemCallFilter=umount2\n"), 5, Fate::lost, "takes back") == 1);
    const Import odd = with("SystemCallFilter=read:EPERM nosuchcall\n");
    CHECK(value(service(odd, "a"), "sandbox.syscalls") == R"(["read"])");
    CHECK(notes(odd, 4, Fate::changed, "one error for all calls") == 1);
    CHECK(notes(odd, 4, Fate::lost, "is not a system call") == 1);
}

TEST_CASE("systemd: protecting part of the kernel becomes protecting all of it, and is told") {
    const Import some = accepting("", "ProtectKernelLogs=yes\nProtectClock=no\n");
    CHECK(value(service(some, "a"), "sandbox.protect_kernel") == "true");
    CHECK(notes(some, 4, Fate::changed, "is ProtectKernelTunables, ProtectKernelModules") == 1);
    CHECK_FALSE(service(accepting("", "ProtectClock=no\n"), "a").has("sandbox.protect_kernel"));
    const Import none = accepting("", "SystemCallArchitectures=native\nKeyringMode=shared\n");
    CHECK(notes(none, 4, Fate::lost, "any key that judges calls") == 1);
    CHECK(notes(none, 5, Fate::lost, "nothing like it") == 1);
    CHECK(accepting("", "SystemCallArchitectures=native\nLockPersonality=yes\n").notes.empty());
}

TEST_CASE("systemd: limits of a unit's cgroup become [resources]") {
    const Import import = accepting("",
                                    "MemoryMax=1G\nMemoryHigh=512M\nMemorySwapMax=infinity\nTasksMax=20\n"
                                    "CPUQuota=150%\nCPUWeight=50\nIOWeight=10\nKillMode=mixed\n");
    const Imported& a = service(import, "a");
    const std::map<std::string, std::string> expected{
        {"memory_max", "\"1G\""}, {"memory_high", "\"512M\""}, {"pids_max", "20"},       {"cpu_max", "\"150%\""},
        {"cpu_weight", "50"},     {"io_weight", "10"},         {"leftovers", "\"end\""},
    };
    for (const auto& [key, toml] : expected) {
        INFO(key);
        CHECK(value(a, "resources." + key) == toml);
    }
    CHECK_FALSE(a.has("resources.memory_swap_max"));
    const Import others = accepting("", "MemoryMax=50%\nTasksMax=10%\nCPUWeight=idle\nKillMode=none\n");
    for (const char* what : {"MemoryMax=50%: is not", "TasksMax=10%: is not", "CPUWeight=idle: is not"}) {
        INFO(what);
        CHECK(std::ranges::count_if(others.notes, [&](const auto& note) { return note.text.find(what) == 0; }) == 1);
    }
    CHECK_FALSE(service(others, "a").has("resources.leftovers"));
}

TEST_CASE("systemd: command lines: prefixes, quotes, escapes, variables") {
    CHECK(command("-/bin/a b")->argv == Words{"/bin/a", "b"});
    CHECK(command("@/bin/a name b")->program == "/bin/a");
    CHECK(command("@/bin/a name b")->argv == Words{"name", "b"});
    CHECK(command("+/bin/a")->full_privileges);
    CHECK(command("-!/bin/a")->full_privileges);
    CHECK_FALSE(command("!!/bin/a")->full_privileges);
    CHECK(command(R"(/bin/a "b c" 'd "e' f\x41\s\101\u00e4 "" \q)")->argv ==
          Words{"/bin/a", "b c", "d \"e", "fA A\xc3\xa4", "", "\\q"});
    CHECK(command("/bin/a %p %% %t")->argv == Words{"/bin/a", "a", "%", "/run"});
    CHECK(command("/bin/a $X ${X} x${X}y $$X a$X", {{"X", "1 2"}})->argv ==
          Words{"/bin/a", "1", "2", "1 2", "x1 2y", "$X", "a$X"});
    CHECK(command(":/bin/a $X", {{"X", "1"}})->argv == Words{"/bin/a", "$X"});
    CHECK(command("/bin/a $Y b ${Y}")->argv == Words{"/bin/a", "b", ""});
    CHECK(command("/bin/a $Y ${Y}")->unset == Words{"Y"});
    CHECK(command("/bin/a ; /bin/b")->more);
    CHECK(command("/bin/a \\; b")->argv == Words{"/bin/a", ";", "b"});
    for (const char* bad : {"/bin/a \"b", "", "-", "/bin/a %i", "@/bin/a", "/bin/a \\xff"}) {
        INFO(bad);
        CHECK_FALSE(command(bad).has_value());
    }
}

TEST_CASE("systemd: a backslash joins lines, also over comments; a line without an assignment is an error") {
    const Import import =
        from({{"a.socket", "[Socket]\nAccept=yes\n# no\nListenStream=7\nnonsense\n"},
              {"a@.service", "[Service]\nExecStart=/bin/a one \\\n# not this\n  two\nStandardInput=socket\n"}});
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/a", "one", "two"])");
    CHECK(notes(import, 5, Fate::error, "nonsense") == 1);
    CHECK(import.notes.size() == 1);
}

TEST_CASE("systemd: time spans") {
    using namespace std::chrono_literals;
    CHECK(unit::time_span("90") == 90s);
    CHECK(unit::time_span("5min 20s") == 320s);
    CHECK(unit::time_span("1h30m") == 90min);
    CHECK(unit::time_span("200ms") == 200ms);
    for (const char* bad : {"infinity", "", "5x", "s", "99999999999999", "999999w"}) {
        INFO(bad);
        CHECK_FALSE(unit::time_span(bad));
    }
}

TEST_CASE("systemd: dependencies, conditions and [Install] are reported; Documentation stays as a comment") {
    const Import import =
        from({{"a.socket",
               "[Unit]\nDescription=An a\nDocumentation=man:a(8)\nAfter=b.service\nConditionPathExists=/x\n"
               "[Socket]\nListenStream=7\n[Install]\nWantedBy=sockets.target\n[X-Own]\nZ=1\n"},
              {"a.service", "[Service]\nExecStart=/bin/a\n"}});
    CHECK(value(service(import, "a"), "description") == R"("An a")");
    CHECK(service(import, "a").comment == "Documentation: man:a(8)\n");
    CHECK(notes(import, 4, Fate::lost, "dependencies") == 1);
    CHECK(notes(import, 5, Fate::lost, "conditions") == 1);
    CHECK(notes(import, 9, Fate::changed, "[Install]") == 1);
    CHECK(import.notes.size() == 3);
}

}  // namespace superd::ctl::systemd_tests
