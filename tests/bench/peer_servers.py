# SPDX-License-Identifier: MIT
"""The servers that tests/bench/peers puts side by side: where each is found, and how it is told to serve."""

import dataclasses
import os
import pathlib
import shutil
import subprocess


PLENTY = 10000


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a server is to serve: the same handler on each port of loopback."""
    ports: tuple
    handler: tuple
    lifted: bool = False       # its own limits are out of the way
    per_source: int = 0        # where it has such a limit
    drops: bool = True         # handlers are of the user nobody
    other: bool = False        # the definition differs in a detail that changes no answer


class Server:  # has no program itself
    """One of them, with a folder of its own. Its process is the caller's."""
    name = ""
    program = None    # None: it is not here
    many = False      # one process has several services
    reloads = False
    as_root = True    # it insists on being root

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o755, exist_ok=True)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.read_text(encoding="ascii") == text:
            return str(path)
        hidden = path.with_name(path.name + "~")
        hidden.write_text(text, encoding="ascii")
        hidden.rename(path)
        return str(path)

    def command(self, setting):
        """Writes its files and returns the words that start it."""
        raise NotImplementedError

    def again(self, setting):
        """Writes its files for a reload."""
        self.command(setting)

    @classmethod
    def find(cls, packages, package, path):
        """Its program, unpacked by tests/install or installed, if it can run here."""
        for root in (os.path.join(packages, package), "/"):
            found = os.path.join(root, path)
            if os.path.exists(found):
                linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
                cls.program = None if "not found" in linked else found
                return


class Superd(Server):
    name = "superd"
    many = reloads = True
    as_root = False

    def command(self, setting):
        wanted = {f"s{port}.toml" for port in setting.ports}
        (self.folder / "conf.d").mkdir(exist_ok=True)
        for path in (self.folder / "conf.d").iterdir():
            if path.name not in wanted:
                path.unlink()
        words = ", ".join(f'"{word}"' for word in setting.handler)
        for port in setting.ports:
            text = f'listen = "tcp://127.0.0.1:{port}"\nmodel = "fork"\nexec = [{words}]\n'
            text += 'umask = "027"\n' if setting.other else ""
            text += f"[limits]\nper_source = {setting.per_source}\n" if setting.per_source else ""
            self.write(f"conf.d/s{port}.toml", text)
        config = self.write("superd.toml", "")
        return [self.program, "--config", config, "--conf-dir", str(self.folder / "conf.d"),
                "--control", str(self.folder / "control.sock"), "--log-level", "notice"]


class Xinetd(Server):
    name = "xinetd"
    many = reloads = True

    def command(self, setting):
        server, *words = setting.handler
        entries = []
        for port in setting.ports:
            lines = ["type = UNLISTED", "socket_type = stream", "protocol = tcp", "wait = no", "bind = 127.0.0.1",
                     f"port = {port}", f"user = {'nobody' if setting.drops else 'root'}", f"server = {server}"]
            lines += [f"server_args = {' '.join(words)}"] if words else []
            lines += ["umask = 027"] if setting.other else []
            lines += [f"cps = {PLENTY} 1", "instances = UNLIMITED"] if setting.lifted else []
            lines += [f"per_source = {setting.per_source}"] if setting.per_source else []
            entries.append(f"service s{port}\n{{\n" + "".join(f"\t{line}\n" for line in lines) + "}\n")
        conf = self.write("xinetd.conf", "".join(entries))
        return [self.program, "-dontfork", "-f", conf, "-pidfile", str(self.folder / "pid")]


class Inetd(Server):
    name = "openbsd-inetd"
    many = reloads = True

    def command(self, setting):
        most = f".{100 * PLENTY + setting.other}" if setting.lifted else ""  # a minute
        user = "nobody" if setting.drops else "root"
        server, *words = setting.handler
        conf = self.write("inetd.conf", "".join(
            f"127.0.0.1:{port} stream tcp nowait{most} {user} {server} {os.path.basename(server)} {' '.join(words)}\n"
            for port in setting.ports))
        return [self.program, "-i", *(["-q", "4096"] if setting.lifted else []), conf]


class Tcpserver(Server):
    """Without looking up names, which would be measured instead of it."""
    name = "tcpserver"

    def command(self, setting):
        drop = ["-u", "65534", "-g", "65534"] if setting.drops else []
        lift = ["-c", str(PLENTY), "-b", "4096"] if setting.lifted else []
        return [self.program, "-q", "-H", "-R", "-l", "0", *drop, *lift, "127.0.0.1", str(setting.ports[0]),
                *setting.handler]


class Tcpsvd(Server):
    name = "tcpsvd"

    def command(self, setting):
        drop = ["-u", "nobody"] if setting.drops else []
        lift = ["-c", str(PLENTY), "-b", "4096"] if setting.lifted else []
        share = ["-C", str(setting.per_source)] if setting.per_source else []
        return [self.program, "-l", "0", *drop, *lift, *share, "127.0.0.1", str(setting.ports[0]), *setting.handler]


class Socat(Server):
    """With nofork, as fast as it can: the handler has the connection itself and not a pair of pipes."""
    name = "socat"

    def command(self, setting):
        lift = ",backlog=4096" if setting.lifted else ""
        drop = ",su=nobody" if setting.drops else ""
        return [self.program, f"TCP-LISTEN:{setting.ports[0]},bind=127.0.0.1,reuseaddr,fork{lift}",
                f"EXEC:{' '.join(setting.handler)},nofork{drop}"]


class SocketActivate(Server):
    """It has no word for the handler's user."""
    name = "systemd-socket-activate"

    def command(self, setting):
        return [self.program, "--listen", f"127.0.0.1:{setting.ports[0]}", "--accept", "--inetd", *setting.handler]


class BareLoop(Server):
    """accept4, vfork, dup2, dup2, execve: what the others' rates are compared with."""
    name = "bare loop"

    def command(self, setting):
        return [self.program, "127.0.0.1", str(setting.ports[0]), setting.handler[0]]


PEERS = (Superd, Xinetd, Inetd, Tcpserver, Tcpsvd, Socat, SocketActivate)


def find(build, packages):
    """Each class knows its program after this; the names of those that are missing."""
    from harness.installation import installation  # pylint: disable=import-outside-toplevel
    Superd.program = installation().superd
    BareLoop.program = os.path.join(build, "tests", "bare_loop")
    Xinetd.find(packages, "xinetd", "usr/sbin/xinetd")
    Inetd.find(packages, "openbsd-inetd", "usr/sbin/inetd")
    Tcpserver.find(packages, "ucspi-tcp", "usr/bin/tcpserver")
    Tcpsvd.find(packages, "ipsvd", "usr/bin/tcpsvd")
    Socat.program = shutil.which("socat")
    SocketActivate.program = shutil.which("systemd-socket-activate")
    return [peer.name for peer in PEERS if not peer.program]
