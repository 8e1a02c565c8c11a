# SPDX-License-Identifier: MIT
"""Starts handlers on sockets, pipes and files as superd would, and ends them with the test."""

import functools
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

LIBEXEC = os.environ["SUPERD_LIBEXEC"]
FAULTY = os.environ["SUPERD_TEST_FAULTY"]
DEADLINE = 20  # seconds; far longer than anything here takes, so that only a fault reaches it

# The handlers must get the sanitizers' variables, although superd alone decides about their environment.
SANITIZER_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1"} | {
    name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}


@functools.cache
def sanitizer(path):
    with open(path, "rb") as binary:
        code = binary.read()
    return "thread" if b"__tsan_init" in code else "address" if b"__asan_init" in code else None


class Handler:
    def __init__(self, program, *arguments, stdin, stdout=None, env=None, shell=None):
        path = FAULTY if program == "faulty" else os.path.join(LIBEXEC, "superd-" + program)
        command = [path, *arguments]
        if shell:
            command = ["/bin/sh", "-c", shell, *command]
        environment = {"PATH": "/usr/bin:/bin", **SANITIZER_ENVIRONMENT, **(env or {})}
        self.sanitizer = sanitizer(path)
        self._told_to_leave = False
        status = environment.get("SUPERD_STATUS_FD")
        self._errors = os.memfd_create("stderr")
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=stdin if stdout is None else stdout, stderr=self._errors,
            env=environment, pass_fds=[int(status)] if status else [])

    def term(self):
        self._told_to_leave = True
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        # ThreadSanitizer holds a signal back until the system call after it returns, which accept() need not.
        end = time.monotonic() + DEADLINE
        if self._told_to_leave and self.sanitizer == "thread":
            while time.monotonic() < end and not self._ends_within(0.2):
                self.term()
        return self.process.wait(DEADLINE)

    def _ends_within(self, seconds):
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def errors(self):
        return os.pread(self._errors, 1 << 20, 0).decode()

    def end(self):
        """Returns what it has said."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        said = self.errors()
        os.close(self._errors)
        return said


class HandlerTest(unittest.TestCase):
    def run(self, result=None):
        """Shows what the handlers of a test that fails have said."""
        failed = result and len(result.errors) + len(result.failures)
        self._said = []
        super().run(result)
        if failed is not None and len(result.errors) + len(result.failures) > failed:
            print(f"The handlers of {self.id()} said:", *self._said, sep="\n", file=sys.stderr)

    def start(self, program, *arguments, **how):
        handler = Handler(program, *arguments, **how)
        self.addCleanup(lambda: self._said.append(handler.end()))
        return handler

    def own(self, thing):
        self.addCleanup(thing.close)
        return thing

    def expect_exit(self, handler, status=0):
        self.assertEqual(handler.wait(), status, handler.errors())
        if status == 0:
            self.assertEqual(handler.errors(), "")

    def open(self, *kind):
        made = self.own(socket.socket(*kind))
        made.settimeout(DEADLINE)
        return made

    def pair(self, kind=socket.SOCK_STREAM):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        ours.settimeout(DEADLINE)
        return self.own(ours), self.own(theirs)

    def listener(self):
        made = self.open(socket.AF_INET, socket.SOCK_STREAM)
        made.bind(("127.0.0.1", 0))
        made.listen(128)
        made.setblocking(True)
        return made

    def udp(self, address="127.0.0.1", port=0, family=socket.AF_INET):
        made = self.open(family, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    def connect(self, listener):
        client = self.open(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(listener.getsockname())
        return client

    def tcp_pair(self):
        listener = self.listener()
        client = self.connect(listener)
        accepted = self.own(listener.accept()[0])
        listener.close()
        return client, accepted

    def echo(self, client, text=b"hello"):
        client.sendall(text)
        self.assertEqual(read_exactly(client, len(text)), text)

    def nothing_pending(self, sock):
        self.assertEqual(select.select([sock], [], [], 0)[0], [])


def read_exactly(sock, size):
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def read_all(sock):
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def blocking(sock):
    """What superd hands over blocks; a time-out would make the shared socket non-blocking."""
    sock.setblocking(True)
    return sock


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("deadline passed")
        time.sleep(0.005)


AT_ONCE = 6


def main():
    """Runs the program's tests: all that it is asked for, or if it is asked for none, all of them in a few processes at a
    time, since they wait more than they work. Each of these has a network of its own, where a port that was free a moment
    ago still is; without the right to make one, the tests run one after the other."""
    alone = ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"]
    share = os.environ.get("SUPERD_TEST_SHARE")
    if share is not None:
        # A share without tests is none that failed, as unittest has it since Python 3.12.
        sys.exit(0 if unittest.main(testLoader=Share(int(share)), exit=False).result.wasSuccessful() else 1)
    elif len(sys.argv) > 1 or not shutil.which("ip") or subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL,
                                                                       check=False).returncode != 0:
        unittest.main()
    running = [subprocess.Popen([*alone, sys.executable, "-B", sys.argv[0]], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=os.environ | {"SUPERD_TEST_SHARE": str(number)})
               for number in range(AT_ONCE)]
    failed = False
    for process in running:
        said = process.communicate()[0]
        os.write(sys.stdout.fileno(), said)
        failed |= process.returncode != 0
    sys.exit(1 if failed else 0)


class Share(unittest.TestLoader):
    """Loads one in AT_ONCE of the tests."""

    def __init__(self, number):
        super().__init__()
        self._number = number

    def loadTestsFromModule(self, module, *, pattern=None):
        every = [test for tests in super().loadTestsFromModule(module, pattern=pattern) for test in tests]
        return self.suiteClass(every[self._number::AT_ONCE])
