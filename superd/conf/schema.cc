// SPDX-License-Identifier: MIT
#include "conf/schema.h"

#include <algorithm>
#include <climits>

#include "conf/schema_row.h"

namespace superd::conf {

namespace {

using namespace rows;

#define FIELD(member)            \
    [](auto& service) -> auto& { \
        return service.member;   \
    }

std::vector<Row> general() {
    return {
        field("description", text(0, 1000), "What the service is, in a few words", FIELD(description)).of_one_service(),
        field("enabled", "Whether to run it; it is checked in any case", FIELD(enabled))
            .of_one_service()
            .xinetd({"disable"}),
        resolved("listen", {Type::word_or_words}, "Addresses to listen on", FIELD(listen))
            .must_be_given()
            .of_one_service()
            .xinetd({"bind", "interface", "port", "protocol", "socket_type"})
            .socket_unit({"ListenStream", "ListenDatagram", "ListenSequentialPacket"}),
        field("model", "How clients are turned into processes", FIELD(model))
            .must_be_given()
            .xinetd({"wait"})
            .socket_unit({"Accept"}),
        field("handoff", "What the handler finds on stdin and stdout: the accepted connection or the listening socket",
              FIELD(handoff)),
        resolved("exec", {Type::words}, "The handler and its arguments",
                 [](auto& service) {
                     const auto& argv = service.handler.argv;
                     return std::pair(service.handler.path,
                                      std::vector<std::string>(argv.begin() + (argv.empty() ? 0 : 1), argv.end()));
                 })
            .must_be_given()
            .of_one_service()
            .xinetd({"server", "server_args"})
            .service_unit({"ExecStart"}),
        resolved("argv0", text(1, PATH_MAX), "What the handler sees as its name instead of exec[0]",
                 [](auto& service) { return service.handler.argv.empty() ? std::string() : service.handler.argv[0]; })
            .of_one_service(),
        resolved("user", text(1, 255), "User that the handler runs as; superd's own if superd is not root",
                 [](auto& service) {
                     return service.handler.identity ? std::optional(service.handler.identity->uid) : std::nullopt;
                 })
            .by_default("nobody")
            .xinetd({"user"})
            .service_unit({"User"}),
        resolved("group", text(1, 255), "Group of the handler instead of the user's primary one",
                 [](auto& service) {
                     return service.handler.identity ? std::optional(service.handler.identity->gid) : std::nullopt;
                 })
            .xinetd({"group"})
            .service_unit({"Group"}),
        resolved("supplementary_groups", {Type::words},
                 "Other groups of the handler instead of the user's in the database",
                 [](auto& service) {
                     return service.handler.identity ? service.handler.identity->groups : std::vector<gid_t>();
                 })
            .xinetd({"groups"})
            .service_unit({"SupplementaryGroups"}),
        field("working_directory", text(1, PATH_MAX), "Where the handler starts, inside root_directory",
              FIELD(handler.working_directory))
            .service_unit({"WorkingDirectory"}),
        field("root_directory", text(1, PATH_MAX), "The handler's root directory; exec is looked up inside",
              FIELD(handler.root_directory))
            .service_unit({"RootDirectory"}),
        field("umask", octal(), "Permissions that the handler's files do not get", FIELD(handler.umask))
            .xinetd({"umask"})
            .service_unit({"UMask"}),
        field("nice", integer(-20, 19), "Scheduling priority", FIELD(handler.nice))
            .xinetd({"nice"})
            .service_unit({"Nice"}),
        resolved("environment", {Type::pairs}, "Variables for the handler", FIELD(handler.environment))
            .xinetd({"env"})
            .service_unit({"Environment"}),
        // Its result is part of the environment, and compared there.
        resolved("pass_environment", {Type::words},
                 "Names of variables that the handler gets from superd's own environment", [](auto&) { return 0; })
            .xinetd({"passenv"})
            .service_unit({"PassEnvironment"}),
        field("stderr", "Where the handler's stderr goes", FIELD(handler.error_output)).service_unit({"StandardError"}),
        field("stop_signal", {Type::signal}, "Signal that asks a handler to end", FIELD(stop_signal))
            .service_unit({"KillSignal"}),
        field("stop_timeout", duration(0s, day), "How long a handler may take to end before it is killed",
              FIELD(stop_timeout))
            .service_unit({"TimeoutStopSec", "TimeoutSec"}),
        field("max_lifetime", duration(1ms, 1000 * day), "A handler older than this is ended", FIELD(max_lifetime))
            .service_unit({"RuntimeMaxSec"}),
    };
}

std::vector<Row> socket() {
    return {
        field("backlog", integer(1, 65535), "Clients that may wait in the kernel", FIELD(socket->backlog))
            .socket_unit({"Backlog"}),
        field("reuse_port", "SO_REUSEPORT: others may listen on the same address", FIELD(socket->reuse_port))
            .socket_unit({"ReusePort"}),
        field("v6only", "IPV6_V6ONLY: an IPv6 socket does not accept IPv4", FIELD(socket->v6only))
            .xinetd({"v6only"})
            .socket_unit({"BindIPv6Only"}),
        field("freebind", "IP_FREEBIND: bind an address that does not exist yet", FIELD(socket->freebind))
            .socket_unit({"FreeBind"}),
        field("bind_to_device", text(1, 15), "Serve only what arrives on this interface", FIELD(socket->bind_to_device))
            .socket_unit({"BindToDevice"}),
        field("keepalive", "SO_KEEPALIVE on accepted connections", FIELD(socket->keepalive)).socket_unit({"KeepAlive"}),
        field("keepalive_time", seconds(1s, 32767s), "Silence before the first keepalive probe",
              FIELD(socket->keepalive_time))
            .socket_unit({"KeepAliveTimeSec"}),
        field("keepalive_interval", seconds(1s, 32767s), "Time between keepalive probes",
              FIELD(socket->keepalive_interval))
            .socket_unit({"KeepAliveIntervalSec"}),
        field("keepalive_probes", integer(1, 127), "Unanswered probes before the connection is dropped",
              FIELD(socket->keepalive_probes))
            .socket_unit({"KeepAliveProbes"}),
        field("nodelay", "TCP_NODELAY on accepted connections", FIELD(socket->nodelay)).socket_unit({"NoDelay"}),
        field("defer_accept", seconds(1s, 3600s), "TCP_DEFER_ACCEPT: wait this long for a client's first byte",
              FIELD(socket->defer_accept))
            .socket_unit({"DeferAcceptSec"}),
        field("receive_buffer", size(1, 1 << 30), "SO_RCVBUF", FIELD(socket->receive_buffer))
            .socket_unit({"ReceiveBuffer"}),
        field("send_buffer", size(1, 1 << 30), "SO_SNDBUF", FIELD(socket->send_buffer)).socket_unit({"SendBuffer"}),
        field("priority", integer(0, INT_MAX), "SO_PRIORITY", FIELD(socket->priority)).socket_unit({"Priority"}),
        field("tos", integer(0, 255), "IP_TOS and IPV6_TCLASS", FIELD(socket->tos)).socket_unit({"IPTOS"}),
        field("mark", integer(0, UINT32_MAX), "SO_MARK", FIELD(socket->mark)).socket_unit({"Mark"}),
        field("fast_open", integer(1, 65535),
              "TCP_FASTOPEN: data may come with a client's first packet; so many handshakes of such clients at a time",
              FIELD(socket->fast_open)),
        field("mptcp", "Multipath TCP, for clients that have it; others are served as ever", FIELD(socket->mptcp))
            .socket_unit({"SocketProtocol"}),
        field("congestion", text(1, 15), "TCP_CONGESTION: the congestion control of accepted connections",
              FIELD(socket->congestion))
            .socket_unit({"TCPCongestion"}),
        field("ttl", integer(1, 255), "IP_TTL and IPV6_UNICAST_HOPS: how many routers may pass on what is sent",
              FIELD(socket->ttl))
            .socket_unit({"IPTTL"}),
        field("transparent", "IP_TRANSPARENT: an address that is not this machine's, as a transparent proxy needs it",
              FIELD(socket->transparent))
            .socket_unit({"Transparent"}),
        field("broadcast", "SO_BROADCAST: handlers may send to broadcast addresses", FIELD(socket->broadcast))
            .socket_unit({"Broadcast"}),
        resolved("multicast", {Type::word_or_words},
                 "Groups to receive from beside the address's own: \"239.1.2.3\", \"ff02::1%eth0\"",
                 FIELD(socket->multicast)),
        field("mode", octal(), "Permissions of a unix socket's path", FIELD(socket->mode)).socket_unit({"SocketMode"}),
        resolved("user", text(1, 255), "Owner of a unix socket's path", FIELD(socket->user))
            .socket_unit({"SocketUser"}),
        resolved("group", text(1, 255), "Group of a unix socket's path", FIELD(socket->group))
            .socket_unit({"SocketGroup"}),
    };
}

std::vector<Row> limits() {
    const Shape count = integer(1, 1'000'000);
    return {
        field("instances", count, "Handlers at a time", FIELD(limits->instances))
            .xinetd({"instances"})
            .socket_unit({"MaxConnections"}),
        field("per_source", count, "Handlers at a time for one source", FIELD(limits->per_source))
            .xinetd({"per_source"})
            .socket_unit({"MaxConnectionsPerSource"}),
        rate<&Limits::rate>("rate", "New clients per unit of time: \"100/s\", \"30/m\"").xinetd({"cps"}),
        burst<&Limits::rate>("burst", count,
                             "Clients that may come at once before rate applies; by default the rate's number"),
        rate<&Limits::per_source_rate>("per_source_rate", "New clients of one source per unit of time"),
        burst<&Limits::per_source_rate>("per_source_burst", count,
                                        "Clients of one source that may come at once; by default the rate's number"),
        field("source_prefix_ipv4", integer(0, 32), "Bits of an IPv4 address that make up a source",
              FIELD(limits->source_prefix_ipv4)),
        field("source_prefix_ipv6", integer(0, 128), "Bits of an IPv6 address that make up a source",
              FIELD(limits->source_prefix_ipv6)),
        field("max_load", "Load average above which no client is accepted", FIELD(limits->max_load))
            .xinetd({"max_load"}),
        field("on_excess", "What happens to clients over a limit", FIELD(limits->on_excess)),
        field("wait_timeout", duration(1us, 1h), "How long a client over its source's limit is held",
              FIELD(limits->wait_timeout)),
        field("reject_text", text(0, 4096), "Text for a rejected client", FIELD(limits->reject_text))
            .xinetd({"banner_fail"}),
    };
}

std::vector<Row> access() {
    return {
        field("allow", "Prefixes that may connect; the rest may not", FIELD(access->allow))
            .xinetd({"only_from"})
            .service_unit({"IPAddressAllow"}),
        field("deny", "Prefixes that may not connect", FIELD(access->deny))
            .xinetd({"no_access"})
            .service_unit({"IPAddressDeny"}),
        field("times", "When clients are accepted, in local time: \"Mon-Fri 08:00-18:00\"", FIELD(access->times))
            .xinetd({"access_times"}),
        field("on_deny", "How a denied client is turned away", FIELD(access->on_deny)),
    };
}

/// The section has an effect by being there, even if it is empty.
Row threshold() {
    Row key = field("threshold", duration(0s, 1000 * day), "Clients of a source with a higher penalty are refused",
                    FIELD(penalty->threshold));
    key.same = [](const Service& a, const Service& b) {
        return a.penalty->on == b.penalty->on && a.penalty->threshold == b.penalty->threshold;
    };
    return key;
}

std::vector<Row> penalty() {
    const Shape cost = duration(0s, 1000 * day);
    return {
        field("failed", cost, "What a handler costs that ends with another status than 0", FIELD(penalty->failed)),
        field("crashed", cost, "What a handler costs that ends by a signal", FIELD(penalty->crashed)),
        field(
            "refused", cost,
            "What a client costs that access.allow, access.deny, per_source, per_source_rate or a bad header keeps out",
            FIELD(penalty->refused)),
        field("touched", cost, "What each connection costs, so that a service that nobody honest asks for is a sensor",
              FIELD(penalty->touched))
            .xinetd({"deny_time"}),
        threshold(),
        field("max", duration(1us, 1000 * day), "A penalty is never more than this", FIELD(penalty->max)),
        field("exempt", "Prefixes that no penalty applies to; by default 127.0.0.0/8 and ::1", FIELD(penalty->exempt)),
        field("everywhere", "Whether what a source earns here counts at every service", FIELD(penalty->everywhere)),
    };
}

/// The section has an effect by being there, even if it is empty.
Row header_versions() {
    Row key = field("accept", "Which versions of the header are taken", FIELD(proxy_protocol->accept));
    key.same = [](const Service& a, const Service& b) {
        return a.proxy_protocol->on == b.proxy_protocol->on && a.proxy_protocol->accept == b.proxy_protocol->accept;
    };
    return key;
}

std::vector<Row> proxy_protocol() {
    return {
        header_versions(),
        field("from", "Prefixes of the proxies, which alone may send a header; needed for TCP",
              FIELD(proxy_protocol->from)),
        field("timeout", duration(1ms, 1h), "How long the whole header may take", FIELD(proxy_protocol->timeout)),
    };
}

/// The section has an effect by being there.
Row tls_certificate() {
    Row key = resolved("certificate", text(1, PATH_MAX),
                       "The service's certificate, followed by those that it depends on", FIELD(tls->certificate));
    key.same = [](const Service& a, const Service& b) {
        return a.tls->on == b.tls->on && a.tls->certificate == b.tls->certificate;
    };
    return key;
}

std::vector<Row> tls() {
    return {
        tls_certificate(),
        resolved("key", text(1, PATH_MAX), "Its private key; superd opens the file and never reads it",
                 FIELD(tls->key)),
        resolved("name", {Type::tls_names}, "Other certificates for clients that ask for these names",
                 FIELD(tls->names))
            .of_one_service(),
        resolved("client_ca", text(1, PATH_MAX), "Certificates of those who certify clients", FIELD(tls->client_ca)),
        resolved("client_crl", text(1, PATH_MAX), "What these have revoked: a list of each of them",
                 FIELD(tls->client_crl)),
        field("client_certificate",
              "Whether clients are asked for a certificate, and may come without; require where client_ca is given",
              FIELD(tls->client_certificate)),
        field("min_version", "The oldest version of TLS", FIELD(tls->min_version)),
        field("ciphers", text(1, 4096), "Ciphers as ciphers(1ssl) writes them, the best first; those of TLS 1.3 too",
              FIELD(tls->ciphers)),
        resolved("alpn", {Type::word_or_words}, "Protocols that the handler speaks, the best first: \"http/1.1\"",
                 FIELD(tls->alpn)),
        field("handshake_timeout", duration(1ms, 1h), "How long a handshake may take", FIELD(tls->handshake_timeout)),
        resolved("user", text(1, 255), "User of the process that has the key; no handler may have it",
                 [](auto& service) {
                     return service.tls->identity ? std::optional(service.tls->identity->uid) : std::nullopt;
                 })
            .by_default("superd-tls"),
    };
}

std::vector<Row> prefork() {
    return {
        field("warm",
              "What is ready when a client comes: a process before its exec, a handler at its first touch of the "
              "client, or a copy of one",
              FIELD(prefork->warm)),
        field("warm_within", duration(1ms, day), "A handler that touches its client later than this is not kept warm",
              FIELD(prefork->warm_within)),
        field("min_spare", integer(0, 1'000'000), "Handlers kept ready", FIELD(prefork->min_spare)),
        field("max_spare", integer(1, 1'000'000), "Ready handlers above this number are ended",
              FIELD(prefork->max_spare)),
        field("max_requests", integer(1, INT_MAX), "Clients that a handler serves before it is replaced",
              FIELD(prefork->max_requests)),
        field("max_idle", duration(1ms, 1000 * day), "A handler without a client for this long is ended",
              FIELD(prefork->max_idle)),
        field("max_age", duration(1ms, 1000 * day), "A handler of this age is replaced", FIELD(prefork->max_age)),
        field("grow_after", duration(1ms, day),
              "How long clients may wait before the pool grows (\"50ms\", or \"10ms\" if workers report)",
              FIELD(prefork->grow_after)),
    };
}

std::vector<Row> datagram() {
    return {
        field("session", "Whether one handler serves all datagrams of a peer, or each has its own",
              FIELD(datagram->session)),
        field("session_idle", duration(1ms, 1000 * day), "A session in which nothing passes for this long ends",
              FIELD(datagram->session_idle)),
    };
}

std::vector<Row> delayed() {
    return {
        field("delay", duration(1ms, day), "A handler busy for longer no longer holds up the next client",
              FIELD(delay)),
    };
}

std::vector<Row> rlimits() {
    return {
        rlimit<RLIMIT_NOFILE>("nofile", Type::count_limit, "Open files; else 1024 of the hard limit")
            .xinetd({"rlimit_files"})
            .service_unit({"LimitNOFILE"}),
        rlimit<RLIMIT_NPROC>("nproc", Type::count_limit, "Processes of the user").service_unit({"LimitNPROC"}),
        rlimit<RLIMIT_AS>("as", Type::size_limit, "Address space").xinetd({"rlimit_as"}).service_unit({"LimitAS"}),
        rlimit<RLIMIT_CORE>("core", Type::size_limit, "Core dump").service_unit({"LimitCORE"}),
        rlimit<RLIMIT_CPU>("cpu", Type::count_limit, "Seconds of processor time")
            .xinetd({"rlimit_cpu"})
            .service_unit({"LimitCPU"}),
        rlimit<RLIMIT_DATA>("data", Type::size_limit, "Data segment")
            .xinetd({"rlimit_data"})
            .service_unit({"LimitDATA"}),
        rlimit<RLIMIT_FSIZE>("fsize", Type::size_limit, "Size of a file that it writes").service_unit({"LimitFSIZE"}),
        rlimit<RLIMIT_MEMLOCK>("memlock", Type::size_limit, "Locked memory").service_unit({"LimitMEMLOCK"}),
        rlimit<RLIMIT_STACK>("stack", Type::size_limit, "Stack").xinetd({"rlimit_stack"}).service_unit({"LimitSTACK"}),
    };
}

std::vector<Row> sandbox() {
    const Shape flag{Type::boolean}, list{Type::words};
    return {
        resolved("preset", {Type::choice, 0, 0, {"none", "base", "strict"}},
                 "What confines the handler where no key says otherwise", FIELD(sandbox->preset))
            .by_default("base"),
        resolved("no_new_privileges", flag, "No program that it executes gains privileges, by set-id bits or otherwise",
                 FIELD(sandbox->no_new_privileges))
            .service_unit({"NoNewPrivileges"}),
        resolved("capabilities", list, "Capabilities that the handler or a program that it executes may have",
                 FIELD(sandbox->capabilities))
            .service_unit({"CapabilityBoundingSet"}),
        resolved("ambient_capabilities", list, "Capabilities of a handler that is not root",
                 FIELD(sandbox->ambient_capabilities))
            .service_unit({"AmbientCapabilities"}),
        resolved("private_network", flag, "No network but the connection and a loopback interface of its own",
                 FIELD(sandbox->private_network))
            .service_unit({"PrivateNetwork"}),
        resolved("private_tmp", flag, "An empty /tmp and /var/tmp for the handlers of the service",
                 FIELD(sandbox->private_tmp))
            .service_unit({"PrivateTmp"}),
        resolved("private_devices", flag, "No devices but the likes of /dev/null", FIELD(sandbox->private_devices))
            .service_unit({"PrivateDevices"}),
        resolved("private_pids", flag, "Only processes of the service are seen", FIELD(sandbox->private_pids))
            .service_unit({"PrivatePIDs"}),
        resolved("private_ipc", flag, "Shared memory, semaphores and message queues of its own",
                 FIELD(sandbox->private_ipc))
            .service_unit({"PrivateIPC"}),
        resolved("protect_system", flag_or<ProtectSystem>(),
                 "Read-only: /usr and /boot; \"full\": /etc as well; \"strict\": everything but /dev, /proc and /sys",
                 FIELD(sandbox->protect_system))
            .service_unit({"ProtectSystem"}),
        resolved("protect_home", flag_or<ProtectHome>(), "/home, /root and /run/user: away, read-only, or empty",
                 FIELD(sandbox->protect_home))
            .service_unit({"ProtectHome"}),
        resolved("protect_kernel", flag,
                 "No change of the kernel's variables, modules, control groups, clock and host name; its log is away",
                 FIELD(sandbox->protect_kernel))
            .service_unit({"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
                           "ProtectClock", "ProtectHostname"}),
        resolved("protect_proc", {Type::choice, 0, 0, {"default", "noaccess", "invisible", "ptraceable"}},
                 "What /proc shows of other users' processes", FIELD(sandbox->protect_proc))
            .service_unit({"ProtectProc"}),
        resolved("read_only_paths", list, "Paths that cannot be written to; \"-\" first: if they exist",
                 FIELD(sandbox->read_only_paths))
            .service_unit({"ReadOnlyPaths"}),
        resolved("read_write_paths", list, "Paths that can be written to inside read-only ones",
                 FIELD(sandbox->read_write_paths))
            .service_unit({"ReadWritePaths"}),
        resolved("inaccessible_paths", list, "Paths that are away", FIELD(sandbox->inaccessible_paths))
            .service_unit({"InaccessiblePaths"}),
        resolved("state_directory", text(1, 255),
                 "A folder below /var/lib that is the handler's own and can be written to",
                 FIELD(sandbox->state_directory))
            .of_one_service()
            .service_unit({"StateDirectory"}),
        resolved("syscalls", list, "System calls and groups of them that are permitted; \"~\" first: refused",
                 FIELD(sandbox->syscalls))
            .service_unit({"SystemCallFilter"}),
        resolved("syscall_error", text(1, 20), "Error of a refused call; \"kill\": it ends the handler",
                 FIELD(sandbox->syscall_error))
            .service_unit({"SystemCallErrorNumber"}),
        resolved("memory_deny_write_execute", flag, "No memory is both writable and executable, or becomes executable",
                 FIELD(sandbox->memory_deny_write_execute))
            .service_unit({"MemoryDenyWriteExecute"}),
        resolved("restrict_address_families", {Type::word_or_words},
                 "Families of sockets that it may open, or \"none\"; \"~\" first: may not",
                 FIELD(sandbox->address_families))
            .service_unit({"RestrictAddressFamilies"}),
        resolved("restrict_namespaces", {Type::flag_or_words},
                 "No new namespaces, or only those listed; \"~\" first: all but those",
                 FIELD(sandbox->forbidden_namespaces))
            .service_unit({"RestrictNamespaces"}),
        resolved("restrict_realtime", flag, "No realtime scheduling", FIELD(sandbox->restrict_realtime))
            .service_unit({"RestrictRealtime"}),
        resolved("restrict_suid_sgid", flag, "No file gets set-id bits", FIELD(sandbox->restrict_suid_sgid))
            .service_unit({"RestrictSUIDSGID"}),
        resolved("lock_personality", flag, "No other personality(2)", FIELD(sandbox->lock_personality))
            .service_unit({"LockPersonality"}),
    };
}

std::vector<Row> resources() {
    constexpr std::int64_t most = std::int64_t{1} << 50;
    return {
        field("memory_max", size(4096, most), "Memory of all handlers together; above it the kernel kills some of them",
              FIELD(resources->memory_max))
            .service_unit({"MemoryMax"}),
        field("memory_high", size(4096, most), "Memory above which handlers are slowed down, and memory is taken back",
              FIELD(resources->memory_high))
            .service_unit({"MemoryHigh"}),
        field("memory_swap_max", size(0, most), "Swap space of all handlers together",
              FIELD(resources->memory_swap_max))
            .service_unit({"MemorySwapMax"}),
        field("pids_max", integer(1, 4'194'304), "Processes and threads of all handlers together",
              FIELD(resources->pids_max))
            .service_unit({"TasksMax"}),
        field("cpu_max", percent(1, 1'000'000), "Processor time of all handlers together: \"200%\" is two processors",
              FIELD(resources->cpu_max))
            .service_unit({"CPUQuota"}),
        field("cpu_weight", integer(1, 10'000), "Share of processor time where there is not enough; others have 100",
              FIELD(resources->cpu_weight))
            .service_unit({"CPUWeight"}),
        field("io_weight", integer(1, 10'000), "The same for disks", FIELD(resources->io_weight))
            .service_unit({"IOWeight"}),
        field("leftovers", "What becomes of processes that a handler leaves behind when it ends",
              FIELD(resources->leftovers)),
    };
}

std::vector<Row> log() {
    return {
        field("connections", "Which connections are logged: failures are refusals and abnormal ends",
              FIELD(log_connections))
            .xinetd({"log_on_success", "log_on_failure"}),
        field("usage", "Whether to add to the line of an ended connection what it has used: CPU, memory, bytes, RTT",
              FIELD(log_usage)),
        field("stderr_rate", {Type::rate}, "Lines of handlers' stderr logged per unit of time; more are dropped",
              FIELD(stderr_rate.interval)),
        field("stderr_burst", integer(1, 1'000'000), "Lines that may come at once before stderr_rate applies",
              FIELD(stderr_rate.burst)),
    };
}

#undef FIELD

}  // namespace

const std::vector<Key>& keys() {
    static const std::vector<Key> all = [] {
        std::vector<Key> out;
        const auto add = [&](const char* section, const std::vector<Row>& part) {
            for (const Row& one : part) out.emplace_back(one).section = section;
        };
        add("", general());
        add("socket", socket());
        add("limits", limits());
        add("prefork", prefork());
        add("delayed", delayed());
        add("datagram", datagram());
        add("access", access());
        add("penalty", penalty());
        add("proxy_protocol", proxy_protocol());
        add("tls", tls());
        add("rlimits", rlimits());
        add("sandbox", sandbox());
        add("resources", resources());
        add("log", log());
        return out;
    }();
    return all;
}

const Key* find_key(std::string_view section, std::string_view name) {
    const auto found =
        std::ranges::find_if(keys(), [&](const Key& key) { return key.section == section && key.name == name; });
    return found != keys().end() ? &*found : nullptr;
}

bool is_section(std::string_view name) {
    return !name.empty() && std::ranges::any_of(keys(), [&](const Key& key) { return key.section == name; });
}

const Key* find_counterpart(Elsewhere where, std::string_view name) {
    for (const Key& key : keys()) {
        for (const Counterpart& one : key.elsewhere) {
            if (one.where == where && one.name == name) return &key;
        }
    }
    return nullptr;
}

}  // namespace superd::conf
