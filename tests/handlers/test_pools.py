# SPDX-License-Identifier: MIT
"""Real pool programs on a shared socket (handoff = "listen"), each under load, with a worker killed."""

import contextlib
import http.client
import os
import shutil
import signal
import threading
import unittest

import fastcgi
from harness import Reader, SuperdCase, connect, process
from harness.wire import uri_parts
from test_handlers import needs, program

CLIENTS, EACH = 6, 60


class PoolProgram(SuperdCase):  # has no tests itself
    def service(self, daemon):
        """Defines the service "pool"; `ask` is then good for one request."""
        raise NotImplementedError

    def ask(self, daemon):
        """One request; returns the pid of the process that answered it. Raises if the answer was incomplete."""
        raise NotImplementedError

    def test_under_load_with_a_worker_killed(self):
        """Every request is answered by a pool that grows with demand; a worker that is killed is replaced, and
        only clients that it had at that time see an end."""
        daemon = self.prepare()
        self.service(daemon)
        daemon.start()
        self.eventually(daemon.children, "workers")
        self.ask(daemon)
        failures, answered, lock = [], set(), threading.Lock()
        half, go_on = threading.Barrier(CLIENTS + 1), threading.Event()

        def client():
            for number in range(EACH):
                if number == EACH // 2:
                    half.wait(120)
                    go_on.wait(120)
                try:
                    pid = self.ask(daemon)
                    with lock:
                        answered.add(pid)
                except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
                    with lock:
                        failures.append(repr(error))

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        half.wait(120)
        self.assertEqual(failures, [], "before anybody was killed")
        go_on.set()
        victim = None
        while victim is None:
            # It may just have left by itself, or all of them.
            with contextlib.suppress(ProcessLookupError, ValueError):
                victim = min(child.pid for child in daemon.children())
                os.kill(victim, signal.SIGKILL)
        for thread in threads:
            thread.join()
        self.assertLessEqual(len(failures), 1, failures)
        self.eventually(lambda: victim not in {child.pid for child in daemon.children()}, "gone")
        self.assertGreaterEqual(len(answered), 2)
        self.ask(daemon)
        self.assertEqual(daemon.status()["pool"]["state"], "listening")
        daemon.stop()


class FastCgi(PoolProgram):  # has no tests itself
    parameters = {}

    def ask(self, daemon):
        with connect(daemon.address("pool"), timeout=60) as sock:
            text = fastcgi.request(sock, {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "QUERY_STRING": "",
                                          "GATEWAY_INTERFACE": "CGI/1.1", **self.parameters})
        return int(text.partition(b"worker ")[2])


@needs("fcgiwrap")
class Fcgiwrap(FastCgi):
    def service(self, daemon):
        script = daemon.script("hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
                                        "echo \"worker $PPID\"\n")
        self.parameters = {"SCRIPT_FILENAME": script}
        daemon.service("pool", listen="unix://" + daemon.path("fcgi.sock"), model="prefork", handoff="listen",
                       exec=[program("fcgiwrap")], prefork={"min_spare": 2}, socket={"mode": "0666"})


@needs("php-cgi")
class PhpCgi(FastCgi):
    def service(self, daemon):
        script = daemon.write("hello.php", "<?php echo 'worker ', getmypid();\n")
        self.parameters = {"SCRIPT_FILENAME": script, "REDIRECT_STATUS": "200"}
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[os.path.realpath(program("php-cgi"))], prefork={"min_spare": 2, "max_requests": 50},
                       environment={"PHP_FCGI_CHILDREN": "0", "PHP_FCGI_MAX_REQUESTS": "50"})


@needs("gunicorn")
class Wsgi(PoolProgram):
    """gunicorn takes the socket that LISTEN_FDS names. What is started is its master, which starts one worker."""

    def service(self, daemon):
        daemon.write("hello.py", "import os\n"
                                 "def application(environ, start_response):\n"
                                 "    body = b'worker %d' % os.getppid()\n"
                                 "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
                                 "    return [body]\n")
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=["/usr/bin/python3", "-B", program("gunicorn"), "--chdir", daemon.directory, "--workers",
                             "1", "--worker-tmp-dir", "/dev/shm", "--log-level", "warning", "hello:application"],
                       prefork={"min_spare": 2})

    def ask(self, daemon):
        _, host, port = uri_parts(daemon.address("pool"))
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=60)) as client:
            client.request("GET", "/")
            answer = client.getresponse()
            if answer.status != 200:
                raise ValueError(answer.status)
            return int(answer.read().partition(b"worker ")[2])


EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "contrib",
                        "examples")


class Example(SuperdCase):  # has no tests itself
    """The workers of contrib/examples report, and leave between two clients when they are told to."""

    def pool(self, name, *exec_words, **keys):
        daemon = self.prepare()
        path = daemon.path(name)
        shutil.copy(os.path.join(EXAMPLES, name), path)
        os.chmod(path, 0o755)
        keys.setdefault("prefork", {"min_spare": 1, "max_spare": 4, "max_idle": "1s"})
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[*exec_words, path], **keys)
        daemon.start()
        return daemon, daemon.address("pool")

    def workers(self, daemon):
        return {child.pid for child in daemon.children()}

    def left(self, daemon, workers):
        """What is left of these: themselves, and what they have started, which can outlive them for a moment and take a
        client along."""
        return [one for one in [*daemon.children(), *process.children(os.getpid())]
                if one.state not in "ZX" and (one.pid in workers or one.session in workers)]

    def serves(self, daemon, uri):
        """A busy worker has a spare one next to it; told to leave by a reload, it first finishes its client."""
        with connect(uri, timeout=60) as one:
            one.sendall(b"first\n")
            reader = Reader(one)
            self.assertEqual(reader.line(), b"hello first")
            with connect(uri, timeout=60) as two:
                two.sendall(b"second\n")
                self.assertEqual(Reader(two).line(), b"hello second")
            self.eventually(lambda: int(daemon.status()["pool"]["accepted"]) == 2, "both are reported")
            old = self.workers(daemon)
            daemon.reload()
            one.sendall(b"third\n")
            self.assertEqual(reader.line(), b"hello third")
        self.eventually(lambda: not self.left(daemon, old), "the old ones have left", timeout=60)
        with connect(uri, timeout=60) as three:
            three.sendall(b"fourth\n")
            self.assertEqual(Reader(three).line(), b"hello fourth")
        self.assertEqual(int(daemon.status()["pool"]["failures"]), 0)


class PythonExample(Example):
    def test_worker(self):
        daemon, uri = self.pool("worker.py", "/usr/bin/python3", "-B")
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=["/usr/bin/python3", "-B", daemon.path("worker.py")], environment={"CHANGED": "1"})
        self.serves(daemon, uri)


@needs("perl")
class ShellExample(Example):
    def test_worker(self):
        daemon, uri = self.pool("worker.sh")
        daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen",
                       exec=[daemon.path("worker.sh")], environment={"CHANGED": "1"}, stop_timeout="1s")
        self.serves(daemon, uri)


class CxxExample(Example):
    def test_worker(self):
        """The example in C++ as it was built."""
        daemon = self.prepare()
        program_path = os.environ["SUPERD_EXAMPLE_WORKER"]
        with open(program_path, "rb") as file:
            path = daemon.script("worker", file.read())
        for number in range(2):
            daemon.service("pool", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", exec=[path],
                           prefork={"min_spare": 1, "max_spare": 4, "max_idle": "1s"},
                           environment={"CHANGED": str(number)})
            if number == 0:
                daemon.start()
        self.serves(daemon, daemon.address("pool"))


if __name__ == "__main__":
    unittest.main()
