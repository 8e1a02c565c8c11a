# SPDX-License-Identifier: MIT
"""Files for the inetds that are packages, OpenBSD's and GNU's: every form that their inetd.conf knows. `says` as in
xinetd_files."""

from xinetd_files import File


class Table:
    def __init__(self, probe, first_port):
        self.probe, self.port, self.files = probe, first_port, []

    def add(self, name, text, kinds=("tcp",), *, says=None, shows=()):
        """PORT, PORT2 … are ports; each line's service is named after its port, a path after its end."""
        ports = []
        for kind in kinds:
            self.port += 1
            ports.append((kind, self.port))
        for number in range(len(ports), 0, -1):
            text = text.replace("PORT" + (str(number) if number > 1 else ""), str(ports[number - 1][1]))
        names = tuple(str(port) for _, port in ports)
        names += tuple(f"{port}-{kind}{family}" for kind, port in ports for family in ("", "4", "6", "46", "6only"))
        self.files.append(File(name, text.replace("PROBE", self.probe) + "\n", ports, says, shows, names))


def common(t, dialect):
    """What all inetds that run here know; they differ in how they use it."""
    line = "PORT stream tcp nowait root PROBE probe -x"
    t.add("plain", line, shows=("served",))
    t.add("tcp4", line.replace("tcp", "tcp4"), shows=("served", "closed"))
    t.add("tcp6", line.replace("tcp", "tcp6"), shows=("served",))
    t.add("tcp46", line.replace("tcp", "tcp46"))
    other = 'has protocol "' if dialect == "openbsd" else None  # it confuses unknown entries with known ones
    t.add("tcp6only", line.replace("tcp", "tcp6only"), says=other)
    t.add("udp", "PORT dgram udp wait root PROBE probe --receive 0 --idle 200", ("udp",), shows=("served",))
    t.add("udp4", "PORT dgram udp4 wait root PROBE probe --receive 0 --idle 200", ("udp",), shows=("served", "closed"))
    t.add("udp6", "PORT dgram udp6 wait root PROBE probe --receive 0 --idle 200", ("udp",), shows=("served",))
    t.add("stream-wait", "PORT stream tcp wait root PROBE probe --accept 0", shows=("served",))
    t.add("nowait-max", line.replace("nowait", "nowait.100"), shows=("served",))
    t.add("wait-max", "PORT stream tcp wait.100 root PROBE probe --accept 0", shows=("served",))
    t.add("no-argv", "PORT stream tcp nowait root PROBE")
    t.add("other-name", "PORT stream tcp nowait root PROBE other a b c", shows=("served",))
    t.add("user", "PORT stream tcp nowait nobody PROBE probe", shows=("served",))
    t.add("user-group", "PORT stream tcp nowait nobody:daemon PROBE probe", shows=("served",))
    t.add("user-dot-group", "PORT stream tcp nowait nobody.daemon PROBE probe", shows=("served",))
    t.add("root-group", "PORT stream tcp nowait root:daemon PROBE probe", shows=("served",))
    t.add("no-user", "PORT stream tcp nowait no-such-user PROBE probe",
          says="no such user" if dialect == "openbsd" else None)
    t.add("quotes", "PORT stream tcp nowait root PROBE probe \"a b\" 'c d' e")
    t.add("continued", "PORT stream tcp4 nowait root PROBE probe one\n\ttwo")
    t.add("commented", f"#{line}", shows=("closed",))
    t.add("switched-off", f"#<off># {line}", shows=("closed",))
    t.add("blanks", line.replace(" ", " \t  "), shows=("served",))
    t.add("few-fields", "PORT stream tcp nowait root", shows=("closed",))
    t.add("unknown-type", line.replace("stream", "strem"), shows=("closed",))
    t.add("unknown-wait", line.replace("nowait", "sometimes"))
    t.add("unknown-protocol", line.replace("tcp", "tpc"), says=other)
    t.add("address", "10.0.0.1:" + line)
    t.add("address6", "[fd00::1]:" + line)
    t.add("address6-bare", "fd00::1:" + line)
    t.add("address-any", "*:" + line)
    t.add("addresses", "10.0.0.1,127.0.0.1:" + line)
    t.add("addresses-twice", "10.0.0.1,10.0.0.1:" + line)
    t.add("addresses-names", "localhost:" + line)
    t.add("addresses-some", "named.example,no.such.host.invalid:" + line)
    t.add("unknown-name", "no.such.host.invalid:" + line)
    t.add("address-family", "10.0.0.1:" + line.replace("tcp", "tcp6"))
    t.add("address6-plain4", "fd00::1:" + line.replace("tcp", "tcp4"))
    t.add("address46", "10.0.0.1:" + line.replace("tcp", "tcp46"))
    t.add("two-lines", line.replace("tcp", "tcp4") + "\n" + line.replace("tcp", "tcp6").replace("-x", "-y"),
          shows=("served",))
    t.add("same-line", line + "\n" + line.replace("-x", "-y"))
    t.add("rcvbuf", line.replace("tcp", "tcp,rcvbuf=16384"), shows=("served",))
    t.add("buffers", line.replace("tcp", "tcp,rcvbuf=64k,sndbuf=1m"), shows=("served",))
    t.add("nowait-colon", line.replace("nowait", "nowait:100"))
    t.add("nowait-slash", line.replace("nowait", "nowait/10/30/5"))
    t.add("rpc", "rstatd/1-3 dgram rpc/udp wait root PROBE probe", ())
    t.add("tcpmux", "tcpmux/x stream tcp nowait root PROBE probe", ())
    if dialect == "gnu":
        return t  # inetutils 2.4 uses such an address after it has freed it
    t.add("sticky", "10.0.0.1:\nPORT stream tcp nowait root PROBE probe\n*:\nPORT2 stream tcp nowait root PROBE probe",
          ("tcp", "tcp"))
    return t
