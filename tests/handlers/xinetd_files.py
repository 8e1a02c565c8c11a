# SPDX-License-Identifier: MIT
"""Files for xinetd: every attribute and flag of xinetd.conf(5), and common mistakes. `says`: what the report must say
if superd with the imported file differs from xinetd; None: it must not differ."""

from dataclasses import dataclass, field


@dataclass
class File:
    name: str
    text: str
    ports: list            # (kind, port)
    says: str = None
    outcomes: tuple = ()   # what the original must show, so that the entry tests what it should
    names: tuple = ()      # of its services
    environment: dict = field(default_factory=dict)
    hosts: dict = field(default_factory=dict)  # /etc/hosts.allow and its like, for the time of the test

    def owns(self, note, _report):
        return note["service"] in self.names or note["file"].endswith("/" + self.name) or (
            any(f'"{name}"' in note["text"] for name in self.names))


class Table:
    def __init__(self, probe, first_port):
        self.probe, self.port, self.files = probe, first_port, []

    def next_port(self):
        self.port += 1
        return self.port

    def add(self, name, lines="", *, says=None, shows=(), base=True, kind="tcp", title=None, **options):
        """A service with what xinetd requires, plus these lines; base: without some of the required ones, by name."""
        port = self.next_port()
        given = {"type": "UNLISTED", "socket_type": "stream" if kind == "tcp" else "dgram", "wait": "no" if kind == "tcp" else "yes",
                 "user": "root", "server": self.probe, "port": str(port)}
        if kind == "udp":
            given["server_args"] = "--receive 0 --idle 200"
        if base is not True:
            for key in base:
                given.pop(key)
        own = {line.split()[0].lower() for line in lines.splitlines() if line.strip()}
        head = "".join(f"\t{key} = {value}\n" for key, value in given.items() if key not in own)
        text = f"service {title or name}\n{{\n{head}{lines}}}\n"
        self.files.append(File(name, text.replace("PORT", str(port)).replace("PROBE", self.probe), [(kind, port)], says, shows,
                               (name,), **options))

    def raw(self, name, text, kinds=("tcp",), *, says=None, shows=(), names=(), **options):
        """The whole text; PORT, PORT2 … are ports."""
        ports = [(kind, self.next_port()) for kind in kinds]
        for number in range(len(ports), 0, -1):
            text = text.replace("PORT" + (str(number) if number > 1 else ""), str(ports[number - 1][1]))
        self.files.append(File(name, text.replace("PROBE", self.probe), ports, says, shows, names or (name,), **options))


def entry(name, lines):
    return (f"service {name}\n{{\n\ttype = UNLISTED\n\tsocket_type = stream\n\twait = no\n\tuser = root\n\tserver = PROBE\n"
            f"{lines}}}\n")


def plain(probe, first_port):
    """Files without defaults: one daemon reads them all."""
    t = Table(probe, first_port)
    t.add("plain", shows=("served",))
    # Capitals.
    t.raw("capital-keyword", entry("capital-keyword", "\tport = PORT\n").replace("service", "Service"), shows=("served",))
    t.raw("capital-attributes", entry("capital-attributes", "\tport = PORT\n").replace("socket_type", "Socket_Type")
          .replace("wait", "WAIT").replace("user", "User").replace("server", "SERVER").replace("type", "TYPE")
          .replace("port", "Port"), shows=("served",))
    t.add("capital-type", "\ttype = unlisted\n", shows=("served",))
    t.add("capital-socket-type", "\tsocket_type = STREAM\n", shows=("served",))
    t.add("capital-wait", "\twait = No\n", shows=("served",))
    t.add("capital-flags", "\tflags = ipv4 nodelay KeepAlive\n", shows=("served",))
    t.add("capital-limits", "\tinstances = unlimited\n\tper_source = Unlimited\n", shows=("served",))
    t.add("capital-disable", "\tdisable = NO\n", shows=("served",))
    t.add("capital-protocol", "\tprotocol = TCP\n", shows=("served",))
    t.add("upper-yes", "\tdisable = YES\n", shows=("closed",))
    t.add("upper-user", "\tuser = ROOT\n", shows=("closed",))
    # Bad values.
    t.add("disable-true", "\tdisable = True\n", shows=("closed",))
    t.add("disable-on", "\tdisable = on\n", shows=("closed",))
    t.add("unknown-flag", "\tflags = NODELAY FASTER\n", shows=("closed",))
    t.add("no-flags", "\tflags =\n", shows=("closed",))
    t.add("unknown-type", "\ttype = UNLISTED FANCY\n", shows=("closed",))
    t.add("wait-maybe", "\twait = maybe\n", shows=("closed",))
    t.add("unknown-attribute", "\tcolour = red\n", shows=("served",))
    t.add("nice-fast", "\tnice = fast\n", shows=("closed",))
    t.add("instances-many", "\tinstances = many\n", shows=("closed",))
    t.add("instances-less", "\tinstances = -1\n", shows=("closed",))
    t.add("instances-zero", "\tinstances = 0\n", shows=("refused",), says="instances")
    t.add("instances-two", "\tinstances = 2 3\n", shows=("served",))
    t.add("cps-one", "\tcps = 50\n", shows=("served",))
    t.add("cps-word", "\tcps = 50 ten\n", shows=("closed",))
    t.add("cps", "\tcps = 100 1\n", shows=("served",))
    t.add("per-source", "\tper_source = 3\n", shows=("served",))
    t.add("per-source-zero", "\tper_source = 0\n", shows=("refused",), says="per_source")
    t.add("max-load", "\tmax_load = 1000.5\n", shows=("served",))
    t.add("max-load-word", "\tmax_load = low\n", shows=("closed",))
    t.add("umask-eight", "\tumask = 088\n", shows=("closed",))
    t.add("umask", "\tumask = 27\n", shows=("served",))
    t.add("nice", "\tnice = 3\n", shows=("served",))
    t.add("no-equals", "\tnice 3\n", shows=("closed",))
    t.add("tight-equals", "\tnice= 3\n", shows=("closed",))
    t.add("empty-port", "\tport =\n", shows=("closed",))
    t.add("port-name", "\tport = http\n", shows=("closed",))
    t.add("twice", "\tnice = 4\n\tnice = 5\n", shows=("served",))
    t.add("plus-nice", "\tnice += 4\n", shows=("served",))
    t.add("log-word", "\tlog_on_success = PID EVERYTHING\n", shows=("closed",))
    t.add("log-traffic", "\tlog_on_success = TRAFFIC\n", shows=("closed",))
    t.add("log", "\tlog_on_success = pid Host exit duration\n\tlog_on_failure = host attempt\n", shows=("served",))
    t.add("log-type", "\tlog_type = SYSLOG daemon info\n", shows=("served",))
    t.add("log-type-file", "\tlog_type = FILE /dev/null 100000 200000\n", shows=("served",))
    t.add("log-type-word", "\tlog_type = JOURNAL\n", shows=("closed",))
    # What it demands.
    t.add("no-user", base=("user",), shows=("closed",))
    t.add("no-wait", base=("wait",), shows=("closed",))
    t.add("no-server", base=("server",), shows=("closed",))
    t.add("no-socket-type", "\tprotocol = tcp\n", base=("socket_type",), shows=("served",))
    t.add("listed", base=("type",), shows=("closed",))
    t.add("wrong-protocol", "\tprotocol = sctp\n", shows=("closed",))
    t.raw("not-closed", entry("not-closed", "\tport = PORT\n").replace("}\n", ""), shows=("closed",))
    # Who and how.
    t.add("user", "\tuser = nobody\n", shows=("served",))
    t.add("user-number", "\tuser = 65534\n", shows=("served",))
    t.add("group", "\tuser = nobody\n\tgroup = daemon\n", shows=("served",))
    t.add("groups", "\tuser = nobody\n\tgroups = Yes\n", shows=("served",))
    t.add("args", "\tserver_args = -a \"b c\" 'd'\n", shows=("served",))
    t.add("no-args", "\tserver_args =\n", shows=("closed",))
    t.add("name-in-args", "\tflags = NAMEINARGS\n\tserver_args = other -x\n", shows=("served",))
    t.add("name-in-args-late", "\tserver_args = other -x\n\tflags = NAMEINARGS\n", says="NAMEINARGS", shows=("refused",))
    t.add("name-in-no-args", "\tflags = NAMEINARGS\n", shows=("closed",))
    t.add("env", "\tenv = A=1 B=x=y\n\tenv += C=3\n", shows=("served",))
    t.add("env-replaced", "\tenv = A=1\n\tenv = B=2\n", shows=("served",))
    t.add("env-minus", "\tenv -= A=1\n", shows=("closed",))
    t.add("env-word", "\tenv = A\n", shows=("closed",))
    t.add("rlimits", "\trlimit_as = 512M\n\trlimit_cpu = 20\n\trlimit_data = 100m\n\trlimit_files = 99\n\trlimit_stack = 4096k\n",
          shows=("served",))
    t.add("rlimits-unlimited", "\trlimit_as = Unlimited\n\trlimit_cpu = UNLIMITED\n\trlimit_rss = 10M\n", shows=("served",))
    t.add("rlimit-word", "\trlimit_as = 8G\n", shows=("closed",))
    # Where.
    t.add("ipv4", "\tflags = IPv4\n", shows=("served", "closed"))
    t.add("ipv6", "\tflags = IPv6\n", shows=("served",))
    t.add("both", "\tflags = IPv4 IPv6\n", shows=("served",))
    t.add("v6only", "\tflags = IPv6\n\tv6only = YES\n", shows=("served", "closed"))
    t.add("v6only-ipv4", "\tflags = IPv4\n\tv6only = yes\n", shows=("served", "closed"))
    t.add("bind", "\tbind = 10.0.0.1\n", shows=("served", "closed"))
    t.add("interface", "\tinterface = fd00::1\n", shows=("served", "closed"))
    t.add("bind-any", "\tbind = 0.0.0.0\n", shows=("served", "closed"))
    t.add("bind-any6", "\tbind = ::\n", shows=("served",))
    t.add("bind-any6-only", "\tbind = ::\n\tv6only = yes\n", shows=("served", "closed"))
    t.add("bind-localhost", "\tbind = localhost\n", shows=("served", "closed"))
    t.add("bind-localhost4", "\tbind = localhost\n\tflags = IPv4\n", shows=("served", "closed"))
    t.add("bind-name", "\tbind = no.such.host.invalid\n", shows=("closed",))
    t.add("bind-elsewhere", "\tbind = 192.0.2.77\n", shows=("closed",))
    t.add("bind-v4-flag6", "\tbind = 10.0.0.1\n\tflags = IPv6\n")
    t.add("bind-v6-flag4", "\tbind = fd00::1\n\tflags = IPv4\n", shows=("served", "closed"))
    # Who may connect.
    t.add("only-from", "\tonly_from = 10.0.0.0\n", shows=("served", "refused"))
    t.add("only-from-more", "\tonly_from = 10.0.0.2\n\tonly_from += 192.168.0.0\n", shows=("served", "refused"))
    t.add("only-from-minus", "\tonly_from = 10.0.0.2 192.168.0.1\n\tonly_from -= 10.0.0.2\n", shows=("served", "refused"))
    t.add("only-from-replaced", "\tonly_from = 10.0.0.2\n\tonly_from = 192.168.0.1\n", shows=("served", "refused"))
    t.add("only-from-nobody", "\tonly_from =\n", shows=("refused",))
    t.add("only-from-any", "\tonly_from = 0.0.0.0\n", shows=("served", "refused"))
    t.add("only-from-mask", "\tonly_from = 192.168.0.0/16 10.1.0.0/30\n", shows=("served", "refused"))
    t.add("only-from-parts", "\tonly_from = 192.168.{0,1}\n", shows=("served", "refused"))
    t.add("only-from-hosts", "\tonly_from = 10.0.0.{2,3}\n", shows=("served", "refused"))
    t.add("only-from-zero", "\tonly_from = 10.0.0.{0}\n", shows=("refused",))
    t.add("only-from-comma", "\tonly_from = 10.0.0.2,10.1.0.2\n", shows=("closed",))
    t.add("only-from-short", "\tonly_from = 192.168.1\n", shows=("served", "refused"))
    t.add("only-from-name", "\tonly_from = named.example 10.1.0.2\n\tflags = IPv4\n", shows=("served", "refused"), says="named.example")
    t.add("only-from-localhost", "\tonly_from = localhost\n", shows=("served", "refused"))
    t.add("only-from-localhost4", "\tonly_from = localhost\n\tflags = IPv4\n", shows=("served", "refused"))
    t.add("only-from-domain", "\tonly_from = .example\n\tflags = IPv4\n", shows=("served", "refused"), says=".example")
    t.add("only-from-unknown", "\tonly_from = no.such.host.invalid\n", shows=("refused",))
    t.add("only-from-network", "\tonly_from = testnet\n", shows=("refused",))
    t.add("only-from-v6", "\tonly_from = fd00::2\n", shows=("served", "refused"))
    t.add("only-from-v6-net", "\tonly_from = fd00:1::/32\n", shows=("served", "refused"))
    t.add("only-from-v6-any", "\tonly_from = ::\n", shows=("refused",))
    t.add("no-access", "\tno_access = 10.0.0.0 ::1\n", shows=("served", "refused"))
    t.add("no-access-name", "\tno_access = named.example\n\tflags = IPv4\n", shows=("served", "refused"), says="named.example")
    t.add("both-lists", "\tonly_from = 10.0.0.2 192.168.0.0\n\tno_access = 10.0.0.0/8 192.168.0.1\n",
          shows=("refused",))
    t.add("both-wider", "\tonly_from = 10.0.0.0/8\n\tno_access = 10.0.0.2\n", shows=("served", "refused"))
    t.add("access-times", "\taccess_times = 00:00-23:59\n", shows=("served",))
    t.add("access-times-short", "\taccess_times = 0:00-9:5 9:05-23:59\n", shows=("served",))
    t.add("access-times-word", "\taccess_times = always\n", shows=("closed",))
    t.add("wrapped", "\tlibwrap = kept-out\n", shows=("refused",))
    t.add("not-wrapped", "\tlibwrap = kept-out\n\tflags = NOLIBWRAP\n", shows=("served",))
    t.add("wrapped-some", "\tlibwrap = some\n", shows=("served", "refused"))
    # What superd has nothing for.
    t.add("banner", "\tbanner = /etc/hostname\n", says="banner", shows=("served",))
    t.add("banner-success", "\tbanner_success = /etc/hostname\n", says="banner_success", shows=("served",))
    t.add("banner-fail", "\tbanner_fail = /etc/hostname\n\tno_access = 10.0.0.2\n", says="banner_fail")
    t.add("id-only", "\tflags = IDONLY\n\tlog_on_success = USERID\n", says="IDONLY")
    t.add("noretry", "\tflags = NORETRY REUSE\n", shows=("served",))
    t.add("intercept", "\tflags = INTERCEPT\n", shows=("served",))
    t.add("mdns", "\tmdns = no\n", shows=("served",))
    t.add("tcpmux", "\ttype = TCPMUX UNLISTED\n", shows=("closed",))
    t.add("rpc", "\ttype = RPC UNLISTED\n\trpc_version = 1\n\trpc_number = 100999\n", shows=("closed",))
    t.add("seqpacket", "\tsocket_type = seqpacket\n", shows=("closed",))
    # The socket to the handler.
    t.add("waiting", "\twait = yes\n\tserver_args = --accept 0\n", shows=("served",))
    t.add("waiting-only-from", "\twait = yes\n\tserver_args = --accept 0\n\tonly_from = 10.0.0.0\n", says="each client")
    t.add("waiting-nobody", "\twait = yes\n\tserver_args = --accept 0\n\tonly_from =\n", says="each client")
    t.add("datagram", kind="udp", shows=("served",))
    t.add("datagram-nowait", "\twait = no\n", kind="udp", shows=("served",))
    t.add("datagram-only-from", "\tonly_from = 10.0.0.0\n", kind="udp", shows=("served",), says="each client")
    t.add("datagram-v4", "\tflags = IPv4\n", kind="udp", shows=("served", "closed"))
    t.add("datagram-bind", "\tbind = 10.0.0.1\n", kind="udp", shows=("served", "closed"))
    # Two of a kind.
    t.raw("same-id", entry("same-id", "\tport = PORT\n") + entry("same-id", "\tport = PORT2\n"), ("tcp", "tcp"),
          names=("same-id", "same-id-tcp"))
    t.raw("same-port", entry("same-port", "\tport = PORT\n\tserver_args = first\n") +
          entry("same-port-2", "\tport = PORT\n\tserver_args = second\n"), names=("same-port", "same-port-2"), shows=("served",))
    t.raw("id", entry("id", "\tid = other-id\n\tport = PORT\n"), names=("other-id",), shows=("served",))
    t.raw("comments", "# a comment\n\n   # another\n" + entry("comments", "\t# not this\n\tport = PORT # nor\n"), shows=("closed",))
    t.raw("brace", entry("brace", "\tport = PORT\n").replace("\n{", " {"), shows=("closed",))
    return t


def alone(probe, first_port):
    """Files whose defaults, or whose traps, apply to all services of a daemon: each gets a daemon of its own."""
    t = Table(probe, first_port)
    t.add("sensor", "\tflags = SENSOR\n\tdeny_time = 1\n\tonly_from = 203.0.113.0\n", shows=("refused",))

    def with_defaults(name, defaults, *entries, keyword="defaults", after="", **options):
        lines = "".join(f"\t{line}\n" for line in defaults)
        pairs = list(zip(entries[::2], entries[1::2]))
        services = "".join(entry(one, f"\tport = PORT{number if number > 1 else ''}\n{more}")
                           for number, (one, more) in enumerate(pairs, 1))
        t.raw(name, f"{keyword}\n{{\n{lines}}}\n{services}{after}", ("tcp",) * (len(entries) // 2), names=entries[::2], **options)

    with_defaults("defaults", ["instances = 5", "umask = 027", "groups = yes", "log_on_success = PID", "per_source = 5", "max_load = 999"],
                  "a", "", "b", "\tumask = 077\n\tuser = nobody\n", shows=("served",))
    with_defaults("defaults-lists", ["only_from = 10.0.0.2", "only_from = 10.1.0.2", "no_access = 192.168.0.1"],
                  "a", "", "b", "\tonly_from += 192.168.0.0\n", "c", "\tonly_from = 127.0.0.1\n", shows=("served", "refused"))
    with_defaults("defaults-capitals", ["ONLY_FROM = 10.0.0.2"], "a", "", keyword="Defaults", shows=("served", "refused"))
    with_defaults("defaults-disabled", ["disabled = B"], "a", "", "b", "", shows=("served", "closed"))
    with_defaults("defaults-enabled", ["enabled = A zlast"], "a", "", "b", "", shows=("served", "closed"))
    with_defaults("defaults-not-theirs", ["nice = 5", "flags = IPv4", "access_times = 00:00-00:01"], "a", "", shows=("served",))
    with_defaults("defaults-bind", ["bind = 10.0.0.1", "v6only = no"], "a", "", "b", "\tbind = 127.0.0.1\n", shows=("served", "closed"))
    with_defaults("defaults-twice", ["umask = 027"], "a", "", after="defaults\n{\n\tumask = 077\n}\n", shows=("served",))
    t.raw("defaults-later", entry("a", "\tport = PORT\n") + "defaults\n{\n\tonly_from = 10.0.0.2\n\tumask = 027\n}\n" +
          entry("b", "\tport = PORT2\n"), ("tcp", "tcp"), names=("a", "b"), shows=("served", "refused"))
    t.raw("not-an-entry", "sercive x\n{\n" + entry("a", "\tport = PORT\n") + entry("b", "\tport = PORT2\n"), ("tcp", "tcp"),
          names=("a", "b"), shows=("served", "closed"))
    return t
