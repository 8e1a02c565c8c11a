# SPDX-License-Identifier: MIT
"""superd as a child process: its configuration folder, its log, its end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import process
from .installation import installation, python
from .place import new_folder
from .wire import Reader

PATIENCE = 30.0 * float(os.environ.get("SUPERD_TEST_PATIENCE", "1"))
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer:")
RUNNING = set()  # pids of all daemons of this process
LAUNCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")


def definition(**keys):
    """A service definition in TOML: plain keys first, dictionaries as tables after them."""
    def value(item):
        if isinstance(item, bool):
            return "true" if item else "false"
        if isinstance(item, (list, tuple)):
            return "[" + ", ".join(value(part) for part in item) + "]"
        if isinstance(item, str):
            return json.dumps(item, ensure_ascii=False)
        return str(item)

    plain = [f"{key} = {value(item)}\n" for key, item in keys.items() if not isinstance(item, dict)]
    tables = []
    for key, item in keys.items():
        if isinstance(item, dict):
            tables.append(f"\n[{key}]\n")
            tables.extend(f"{name} = {value(part)}\n" for name, part in item.items())
    return "".join(plain + tables)


class Superd:
    """Used through SuperdCase.superd(), which sees to its end."""

    def __init__(self, *, user=None, config=None, log_format="json", log_level="debug", arguments=(), environment=None,
                 prefix=(), sockets=(), inherited=()):
        self.installation = installation()
        self.user = user
        self.directory = new_folder("superd-test-")
        self.conf_dir = os.path.join(self.directory, "conf.d")
        os.mkdir(self.conf_dir, 0o755)
        self.config = os.path.join(self.directory, "superd.toml")
        self.control = os.path.join(self.directory, "control.sock")
        self.log_format, self.log_level = log_format, log_level
        self.arguments = list(arguments)
        self.environment = {
            "SUPERD_CONTROL": self.control,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            # To keep 30 callers of each allocation, not as many as tell one from the other, is a tenth of a start.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=1:malloc_context_size=10"),
            "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1"),
            "TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", ""),
        }
        self.environment.update(environment or {})
        self.prefix = list(prefix)
        self.sockets = list(sockets)  # (name, socket): passed as the service manager does
        self.inherited = list(inherited)  # descriptors that are open in superd from its start, under their numbers
        self.process = None
        self.pid = None
        self.records = []
        self.lines = []   # lines that are not JSON records
        self.ended = False
        self.arrival = threading.Condition()
        if user is not None:
            for path in (self.directory, self.conf_dir):
                shutil.chown(path, user)
        self.write("superd.toml", config or "")

    # -- files -----------------------------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text, mode=0o644):
        """A file of the folder, there at once and whole."""
        target = self.path(name)
        hidden = os.path.join(os.path.dirname(target), "." + os.path.basename(target) + ".new")
        with open(hidden, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(hidden, mode)
        if self.user is not None:
            shutil.chown(hidden, self.user)
        os.rename(hidden, target)
        return target

    def script(self, name, text):
        """An executable file; the interpreter's line is the caller's. Returns its path."""
        return self.write(name, text, 0o755)

    def shared(self, name):
        """A folder that handlers of every user may write to."""
        path = self.path(name)
        os.mkdir(path)
        os.chmod(path, 0o777)
        return path

    def service(self, name, text=None, **keys):
        """Writes conf.d/NAME.toml; superd sees it at its next load."""
        return self.write(f"conf.d/{name}.toml", definition(**keys) if text is None else text)

    def remove(self, name):
        os.unlink(self.path(f"conf.d/{name}.toml"))

    # -- running ---------------------------------------------------------------------------------

    def command(self, *more):
        return [self.installation.superd, "--config", self.config, "--conf-dir", self.conf_dir, *more]

    def run(self, *more, timeout=PATIENCE):
        """Runs superd with other arguments to its end: (exit status, all output)."""
        done = subprocess.run(self.command(*more), env=self.environment, timeout=timeout, text=True,
                              errors="surrogateescape", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, **self._identity())
        if SANITIZER_REPORT.search(done.stdout):
            raise AssertionError("sanitizer report:\n" + done.stdout)
        return done.returncode, done.stdout

    def check(self):
        return self.run("--check")

    def _identity(self):
        return {} if self.user is None else {"user": self.user, "group": process_group(self.user), "extra_groups": []}

    def start(self, wait=True):
        command = self.command("--log-format", self.log_format,
                               "--log-level", self.log_level, *self.arguments)
        pass_fds = self.inherited
        if self.sockets:
            pass_fds = [sock.fileno() for _, sock in self.sockets]
            command = [python(), LAUNCH, ":".join(name for name, _ in self.sockets),
                       ",".join(map(str, pass_fds)), *command]
        self.process = subprocess.Popen(self.prefix + command, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=pass_fds,
                                        start_new_session=True, **self._identity())
        self.pid = self.process.pid
        RUNNING.add(self.pid)
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()
        if wait:
            self.wait_for(message="ready")
        return self

    def _read(self, stream):
        for raw in stream:
            text = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            record = None
            if self.log_format == "json" and text.startswith("{"):
                try:
                    record = json.loads(text)
                except ValueError:
                    pass
            with self.arrival:
                if isinstance(record, dict):
                    self.records.append(record)
                    if SANITIZER_REPORT.search(record.get("message", "")):  # a handler's own
                        self.lines.append(text)
                else:
                    self.lines.append(text)
                self.arrival.notify_all()
        with self.arrival:
            self.ended = True
            self.arrival.notify_all()
        stream.close()

    # -- the log ---------------------------------------------------------------------------------

    def mark(self):
        """A place in the log: wait_for(..., since=mark) looks only at what comes after."""
        with self.arrival:
            return len(self.records)

    def find(self, match, since=0):
        with self.arrival:
            return [record for record in self.records[since:] if match(record)]

    def wait_for(self, match=None, *, since=0, timeout=PATIENCE, message=None, **fields):
        """The first record that matches: its message begins with `message`, and `fields` are equal as text."""
        def fits(record):
            if message is not None and not str(record.get("message", "")).startswith(message):
                return False
            if any(str(record.get(name)) != str(value) for name, value in fields.items()):
                return False
            return match is None or match(record)

        deadline = time.monotonic() + timeout
        position = since
        with self.arrival:
            while True:
                while position < len(self.records):
                    if fits(self.records[position]):
                        return self.records[position]
                    position += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    break
                self.arrival.wait(left)
        why = "superd ended" if self.ended else f"nothing in {timeout:.0f} s"
        wanted = ", ".join(filter(None, [f"message {message!r}" if message else "", str(fields) if fields else ""]))
        raise AssertionError(f"no such log record: {wanted or 'as asked for'}: {why}")

    def wait_line(self, pattern, timeout=PATIENCE):
        """The first line that is not a JSON record and has `pattern` in it."""
        deadline = time.monotonic() + timeout
        position = 0
        with self.arrival:
            while True:
                while position < len(self.lines):
                    if re.search(pattern, self.lines[position]):
                        return self.lines[position]
                    position += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError(f"no log line with {pattern!r}")
                self.arrival.wait(left)

    def transcript(self, last=120):
        with self.arrival:
            return "\n".join(self.lines + [json.dumps(record)[:2000] for record in self.records[-last:]])

    # -- its own reports -------------------------------------------------------------------------

    def ask(self, verb, **words):
        """The answer of the control socket. superctl, which tests of its own show, would be a process each time."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self.control)
            sock.sendall(json.dumps({"version": 1, "verb": verb, **words}).encode() + b"\n")
            return json.loads(Reader(sock).line())

    def addresses(self, service, since=0):
        return [record["address"] for record in
                self.find(lambda r: r.get("service") == service and r["message"].startswith("listening on "), since)]

    def address(self, service, since=0):
        """Where a service listens, with the port it got."""
        return self.wait_for(message="listening on ", service=service, since=since)["address"]

    def status(self):
        """USR1: service name to its record."""
        since = self.mark()
        names = {name.removesuffix(".toml") for name in os.listdir(self.conf_dir) if name.endswith(".toml")}
        self.process.send_signal(signal.SIGUSR1)
        found = {}
        for name in names:
            found[name] = self.wait_for(lambda r: "model" in r and "state" in r, service=name, since=since)
        return found

    def reload(self, refused=False):
        """Sends HUP; returns the record that ends the reload, and fails if the result is the other one."""
        since = self.mark()
        self.process.send_signal(signal.SIGHUP)
        record = self.wait_for(lambda r: r["message"].startswith(("reloaded", "reload refused")), since=since)
        if record["message"].startswith("reload refused") != refused:
            raise AssertionError(f"unexpected: {record}")
        return record

    def children(self):
        return [child for child in process.children(self.pid) if child.state not in "ZX"]

    def soft_limit(self, name, number=None):
        """That limit of superd as prlimit(1) writes it; sets it first if a number is given. Done as superd's own
        user, because root need not be allowed to."""
        option = f"--{name}" if number is None else f"--{name}={number}:"
        done = subprocess.run(["prlimit", "--pid", str(self.pid), "--noheadings", "--output", "SOFT", option],
                              check=True, text=True, stdout=subprocess.PIPE, **self._identity())
        return done.stdout.strip()

    def limit(self, name, number):
        """Sets soft and hard, which cannot be undone."""
        subprocess.run(["prlimit", "--pid", str(self.pid), f"--{name}={number}:{number}"], check=True,
                       **self._identity())

    # -- the end ---------------------------------------------------------------------------------

    def wait(self, timeout=PATIENCE):
        """The exit status, once all its output has been read."""
        status = self.process.wait(timeout)
        deadline = time.monotonic() + PATIENCE
        with self.arrival:
            while not self.ended and time.monotonic() < deadline:
                self.arrival.wait(deadline - time.monotonic())
        return status

    def stop(self, expected=0):
        """Sends TERM, then checks what must hold at the end of every daemon: status, processes, sanitizers."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("superd did not end after TERM") from None
        finally:
            RUNNING.discard(self.pid)
            left = leftovers()
        self.wait()
        self.process = None
        reports = [line for line in self.lines if SANITIZER_REPORT.search(line)]
        if reports:
            raise AssertionError("sanitizer report:\n" + "\n".join(self.lines))
        if status != expected:
            raise AssertionError(f"superd ended with status {status}, not {expected}")
        if left:
            raise AssertionError("left running: " + ", ".join(f"{p.pid} {p.name}" for p in left))

    def discard(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def process_group(user):
    import pwd  # pylint: disable=import-outside-toplevel
    return (pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)).pw_gid


def leftovers(patience=5.0):
    """Processes that outlived their superd. They are this process's children (it is the subreaper) in their own
    session. Zombies among them are reaped; any that have not ended within `patience` are killed and returned."""
    own_session = os.getsid(0)
    deadline = time.monotonic() + patience
    while True:
        adopted = [child for child in process.children(os.getpid())
                   if child.session != own_session and child.pid not in RUNNING]
        for child in adopted:
            if child.state in "ZX":
                try:
                    os.waitpid(child.pid, os.WNOHANG)
                except ChildProcessError:
                    pass
        running = [child for child in adopted if child.state not in "ZX"]
        if not running or time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    for child in running:
        try:
            os.kill(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return running
