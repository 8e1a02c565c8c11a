# SPDX-License-Identifier: MIT
"""A real proxy in front of real handlers: HAProxy with send-proxy and send-proxy-v2."""

import os
import socket
import subprocess

from harness import Reader
from test_handlers import HandlerCase, needs, program

SEND = {"v1": "send-proxy", "v2": "send-proxy-v2"}


@needs("haproxy", "curl", "micro-httpd")
class HaProxy(HandlerCase):
    def listener(self, host="127.0.0.1"):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(listener.close)
        listener.bind((host, 0))
        listener.listen(128)
        return listener

    def proxy(self, daemon, ways):
        """`ways`: listener, what to add to its "bind", and the server. HAProxy runs until the test ends."""
        text = ["global", "defaults", "mode tcp", "timeout connect 30s", "timeout client 60s", "timeout server 60s"]
        for number, (listener, bind, server) in enumerate(ways):
            text += [f"listen way{number}", f"bind fd@{listener.fileno()} {bind}", f"server s {server}"]
        config = daemon.write("haproxy.cfg", "\n".join(text) + "\n")
        process = subprocess.Popen([program("haproxy"), "-db", "-f", config], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                   pass_fds=[listener.fileno() for listener, _, _ in ways])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def status(self, daemon, name):
        return daemon.ask("status", service=name)["services"][0]

    def refused(self, daemon, name):
        return {why: count for why, count in self.status(daemon, name)["refused"].items() if count}

    def fetch(self, listener, source, *more, scheme="http"):
        """What curl makes of it, by exit status: its stdout, or None where the connection is ended."""
        host, port = listener.getsockname()[:2]
        done = subprocess.run(["curl", "-s", "-m", "60", "--interface", source, *more, f"{scheme}://{host}:{port}/page"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                              env={"PATH": os.environ["PATH"], "HOME": self.home})
        self.assertIn(done.returncode, (0, 52, 56), done)  # 52: an empty answer; 56: reset
        return done.stdout if done.returncode == 0 else None

    def test_pages(self):
        """micro-httpd behind both versions, over TCP and a unix socket, under fork and prefork: whole pages for whoever
        may, nothing for the client that access denies, and nothing of the header in the request."""
        daemon = self.prepare()
        root = daemon.shared("www")
        page = bytes(range(256)) * 2000
        with open(os.path.join(root, "page"), "wb") as file:
            file.write(page)
        self.give(root)
        ways = []
        for model in ("fork", "prefork"):
            for where in ("tcp", "unix"):
                for version in SEND:
                    name = f"{model}-{where}-{version}"
                    listen = "tcp://127.0.0.1:0" if where == "tcp" else f"unix://{daemon.path(name + '.sock')}"
                    daemon.service(name, listen=listen, model=model, exec=["micro-httpd", root],
                                   proxy_protocol={"accept": version, **({"from": ["127.0.0.1"]} if where == "tcp" else {})},
                                   access={"deny": ["127.0.0.5"]})
                    ways.append((name, where, version))
        daemon.start()
        listeners = {name: self.listener() for name, _, _ in ways}
        self.proxy(daemon, [
            (listeners[name], "", (f"127.0.0.1:{self.port(daemon.address(name))}" if where == "tcp" else
                                   f"unix@{daemon.path(name + '.sock')}") + f" {SEND[version]}")
            for name, where, version in ways])
        for name, _, _ in ways:
            with self.subTest(name):
                for _ in range(3):
                    self.assertEqual(self.fetch(listeners[name], "127.0.0.6"), page)
                self.assertIsNone(self.fetch(listeners[name], "127.0.0.5"))
                self.assertEqual(self.refused(daemon, name), {"denied": 1})

    def test_what_it_says(self):
        """The handler learns the client's address and port, over IPv6 too, and HAProxy's identifier."""
        daemon = self.prepare()
        for version in SEND:
            daemon.service(version, listen="tcp://127.0.0.1:0", model="fork", exec=["env"],
                           proxy_protocol={"accept": version, "from": ["127.0.0.1"]})
        daemon.start()
        for version, words in SEND.items():
            for host in ("127.0.0.1", "::1"):
                with self.subTest(version=version, host=host):
                    try:
                        listener = self.listener(host)
                    except OSError:
                        self.skipTest("needs IPv6")
                    more = " proxy-v2-options unique-id\nunique-id-format id-%pid" if version == "v2" else ""
                    self.proxy(daemon, [(listener, "", f"127.0.0.1:{self.port(daemon.address(version))} {words}{more}")])
                    with socket.create_connection(listener.getsockname()[:2], timeout=60) as client:
                        port = client.getsockname()[1]
                        found = dict(line.split("=", 1) for line in Reader(client).rest().decode().splitlines())
                    self.assertEqual((found["TCPREMOTEIP"], found["TCPREMOTEPORT"]), (host, str(port)))
                    self.assertEqual((found["TCPLOCALIP"], found["TCPLOCALPORT"]),
                                     (host, str(listener.getsockname()[1])))
                    if version == "v2":
                        self.assertRegex(found["PROXY_UNIQUE_ID"], r"^id-\d+$")

    @needs("openssl")
    def test_tls(self):
        """TLS that HAProxy has ended is told: version, cipher, the name that was asked for, and the verified client's."""
        daemon = self.prepare()
        pair = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-x509"]
        for name in ("server", "client"):
            subprocess.run(["openssl", "req", *pair, "-subj", f"/CN={name}.example", "-keyout", daemon.path(name + ".key"),
                            "-out", daemon.path(name + ".crt")], check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(daemon.path("server.crt"), encoding="ascii") as crt, open(daemon.path("server.key"),
                                                                            encoding="ascii") as key:
            daemon.write("server.pem", crt.read() + key.read())
        script = daemon.script("page", "#!/bin/sh\nread -r x\nprintf 'HTTP/1.0 200 OK\\r\\n\\r\\n'\nenv\n")
        daemon.service("web", listen="tcp://127.0.0.1:0", model="fork", exec=[script],
                       proxy_protocol={"from": ["127.0.0.1"]})
        daemon.start()
        listener = self.listener()
        self.proxy(daemon, [(listener, f"ssl crt {daemon.path('server.pem')} ca-file {daemon.path('client.crt')} "
                                       "verify optional crt-ignore-err all",
                             f"127.0.0.1:{self.port(daemon.address('web'))} send-proxy-v2-ssl-cn "
                             "proxy-v2-options ssl,cert-cn,ssl-cipher,authority")])
        port = listener.getsockname()[1]
        for more, name in ((["--cert", daemon.path("client.crt"), "--key", daemon.path("client.key")], "client.example"),
                           ([], None)):
            answer = subprocess.run(["curl", "-sk", "-m", "60", "--resolve", f"server.example:{port}:127.0.0.1", *more,
                                     f"https://server.example:{port}/"], check=True, stdout=subprocess.PIPE,
                                    env={"PATH": os.environ["PATH"], "HOME": self.home}).stdout
            found = dict(line.split("=", 1) for line in answer.decode().splitlines() if "=" in line)
            self.assertRegex(found["PROXY_SSL_VERSION"], r"^TLSv1\.[23]$")
            self.assertTrue(found["PROXY_SSL_CIPHER"])
            self.assertEqual(found.get("PROXY_AUTHORITY"), "server.example")
            self.assertEqual(found.get("PROXY_SSL_CN"), name)

    def test_checks(self):
        """HAProxy's health checks, which speak for nobody, pass where access lets in nobody else."""
        daemon = self.prepare()
        daemon.service("web", listen="tcp://127.0.0.1:0", model="fork", exec=["superd-discard"],
                       proxy_protocol={"from": ["127.0.0.1"]}, access={"allow": ["203.0.113.1"]})
        daemon.start()
        listener = self.listener()
        self.proxy(daemon, [(listener, "", f"127.0.0.1:{self.port(daemon.address('web'))} send-proxy-v2 check inter 100ms")])
        self.eventually(lambda: self.status(daemon, "web")["accepted"] >= 5, "five checks")
        self.assertLessEqual(set(self.refused(daemon, "web")), {"gone"})
