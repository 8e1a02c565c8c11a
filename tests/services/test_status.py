# SPDX-License-Identifier: MIT
"""superd-status and superd-metrics over their control socket's far end: a superd that says what a test wants."""

import http.client
import json
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

from harness import HandlerTest, blocking, read_all, main, until

NASTY = '<script>alert("1")</script>&\'\u202e'


def service(name="echo", **more):
    return {"name": name, "description": "says it again", "enabled": True, "state": "listening", "reason": "",
            "model": "fork", "handoff": "connection", "sandbox": {"preset": "base", "left_out": []},
            "listeners": [{"address": "tcp://127.0.0.1:7", "open": True, "awaited": False}], "handlers": 1, "limit": 4,
            "spare": 0, "held": 0, "stalled": 0, "pending": 0, "accepted": 7, "started": 7, "failures": 0,
            "spawn_failures": 0, "refused": {"denied": 2, "rate": 0}, "exits": {"ok": 6},
            "handler_seconds": {"count": 6, "sum": 0.6, "median": 0.1, "p99": 0.2}, **more}


class FakeSuperd:
    """Answers on a control socket, and counts what it is asked."""

    def __init__(self, test):
        folder = tempfile.TemporaryDirectory(prefix="superd-status-")
        test.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "control.sock")
        self.services, self.superd = [service()], {"version": "1.2.3", "pid": 4, "services": 1, "stopping": False}
        self.processes = [{"service": "echo", "pid": os.getpid(), "kind": "handler", "peer": "192.0.2.1:5",
                           "age_seconds": 1.5, "busy": None, "stopping": False, "former": False}]
        self.asked = []
        self.spoil = None  # instead of an answer: bytes, None to close
        self.listener = test.own(socket.socket(socket.AF_UNIX))
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_one, args=(client,), daemon=True).start()

    def serve_one(self, client):
        try:
            self.serve(client)
        except OSError:
            pass  # the program has ended

    def serve(self, client):
        with client, client.makefile("rw", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                request = json.loads(line)
                self.asked.append(request)
                if self.spoil is not None:
                    lines.write(self.spoil)
                else:
                    lines.write(json.dumps({"version": 1, "ok": True, **self.answer(request)}) + "\n")
                lines.flush()
                if self.spoil is not None:
                    return

    def answer(self, request):
        if request["verb"] == "status":
            return {"superd": self.superd, "services": self.services}
        if request["verb"] == "processes":
            return {"processes": self.processes, "total": len(self.processes)}
        if request["verb"] == "metrics":
            return {"format": request["format"], "text": "# TYPE superd_x gauge\nsuperd_x 1\n# EOF\n"}
        return {"service": request["service"], "client": request["client"], "outcome": "refused",
                "verdict": f"refused: access ({NASTY})",
                "steps": [{"step": "access", "outcome": "refused", "text": NASTY}]}

    def count(self, verb):
        return sum(request["verb"] == verb for request in list(self.asked))


class WebTest(HandlerTest):  # has no tests itself
    program = "status"

    def setUp(self):
        self.superd = FakeSuperd(self)

    def serve(self, *arguments, env=None):
        self.listening = blocking(self.listener())
        self.handler = self.start(self.program, "--control", self.superd.path, *arguments, stdin=self.listening, env=env)
        return self.handler

    def connection(self):
        made = http.client.HTTPConnection("127.0.0.1", self.listening.getsockname()[1], timeout=60)
        self.addCleanup(made.close)
        return made

    def get(self, path, method="GET", headers=None, connection=None, body=None):
        to = connection or self.connection()
        to.request(method, path, headers=headers or {}, body=body)
        answer = to.getresponse()
        return answer, answer.read().decode()


class Pages(WebTest):
    def test_the_page_shows_what_superd_says_without_a_script(self):
        self.serve()
        answer, page = self.get("/")
        self.assertEqual(answer.status, 200)
        for text in ('<a href="/service/echo">echo</a>', ">listening<", "1 of 4", "denied&nbsp;2", "192.0.2.1:5", "1.2.3"):
            self.assertIn(text, page)
        self.assertNotIn("rate 0", page)
        self.assertNotIn("style=", page)  # the policy forbids it

    def test_names_are_text(self):
        """Nothing that superd has from others becomes markup, in any page."""
        self.superd.services = [service(NASTY, description=NASTY, reason=NASTY, state=NASTY, model=NASTY,
                                        listeners=[{"address": NASTY, "open": False, "awaited": True}],
                                        refused={NASTY: 1}, sandbox={"preset": NASTY, "left_out": [{"key": NASTY}]})]
        self.superd.processes[0].update(service=NASTY, kind=NASTY, peer=NASTY)
        self.superd.superd["version"] = NASTY
        self.superd.superd["upgrades"] = {"refused_because": NASTY}
        self.serve()
        name = "%3Cscript%3Ealert%28%221%22%29%3C%2Fscript%3E%26%27%E2%80%AE"
        for path in ("/", f"/service/{name}", f"/service/{name}?client={name}&via={name}", f"/?find={name}",
                     "/service/%3Cscript%3E"):
            answer, page = self.get(path)
            self.assertIn(answer.status, (200, 404), path)
            self.assertEqual(page.count("<script"), 1, path)  # its own
            self.assertNotIn("\u202e", page)
            self.assertIn("text/html; charset=utf-8", answer.headers["Content-Type"])
            if answer.status == 200:
                self.assertIn("&lt;script&gt;", page)

    def test_what_explain_says(self):
        """A plain form asks superd once, and the answer is part of the page."""
        self.serve()
        _, page = self.get("/service/echo")
        self.assertIn('<form action="/service/echo#explain">', page)
        self.assertEqual(self.superd.count("explain"), 0)
        answer, page = self.get("/service/echo?client=192.0.2.9&via=192.0.2.1")
        self.assertEqual((answer.status, self.superd.count("explain")), (200, 1))
        asked = next(request for request in self.superd.asked if request["verb"] == "explain")
        self.assertEqual((asked["service"], asked["client"], asked["via"]), ("echo", "192.0.2.9", "192.0.2.1"))
        self.assertIn("refused: access", page)

    def test_explanations_are_rationed(self):
        """Who asks all the time costs superd a few questions a second, and is told so."""
        self.serve()
        connection = self.connection()
        begun = time.monotonic()
        pages = [self.get("/service/echo?client=192.0.2.9", connection=connection)[1] for _ in range(60)]
        most = 20 + 10 * (time.monotonic() - begun) + 1
        self.assertLessEqual(self.superd.count("explain"), most)
        if most < 60:
            self.assertTrue(any("Too many ask at once" in page for page in pages))

    def test_thousands_of_services_are_shown_by_hundreds(self):
        self.superd.services = [service(f"s{i:04}") for i in range(2500)]
        self.serve()
        for path, first, last, rows in (("/", "s0000", "s0099", 100), ("/?page=24", "s2400", "s2499", 100),
                                        ("/?page=99999999999999999999", "s0000", "s0099", 100),
                                        ("/?page=77", "s2400", "s2499", 100), ("/?find=s123", "s1230", "s1239", 10)):
            _, page = self.get(path)
            self.assertEqual(page.count('<th scope="row" class=""><a href="/service/'), rows, path)
            self.assertIn(f">{first}<", page)
            self.assertIn(f">{last}<", page)
        self.assertIn("None has that", self.get("/?find=nowhere")[1])

    def test_history(self):
        """Clients and handler times since the last look are in the history, of the service and of all."""
        self.serve()
        self.get("/status.json")
        self.superd.services = [service(accepted=17, handler_seconds={"count": 8, "sum": 1.6, "median": 1, "p99": 1})]

        def seen():
            _, text = self.get("/status.json")
            history = json.loads(text)["history"]["services"]["echo"]
            return any(history["clients_per_second"]) and history

        found = None

        def look():
            nonlocal found
            time.sleep(0.1)
            found = seen()
            return found

        until(look)
        self.assertEqual(len(found["clients_per_second"]), 60)
        times = [one for one in found["handler_seconds"] if one is not None]
        self.assertAlmostEqual(times[-1], 0.5, places=3)
        self.assertRegex(self.get("/service/echo")[1], "Handler time: <span>(now 500ms, )?most 500ms<")

    def test_json_has_what_superd_said(self):
        self.serve()
        answer, text = self.get("/status.json")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "application/json"))
        found = json.loads(text)
        self.assertEqual((found["ok"], found["services"], found["superd"], found["total"]),
                         (True, self.superd.services, self.superd.superd, 1))
        self.assertGreater(found["processes"][0].pop("usage")["memory"], 1 << 20)
        self.assertEqual(found["processes"], self.superd.processes)


class Probes(WebTest):
    def test_alive_and_ready(self):
        self.serve()
        for path in ("/livez", "/readyz"):
            self.assertEqual(self.get(path)[0].status, 200, path)

    def test_not_ready(self):
        """While superd is stopping, or a service that is enabled waits for an address that it has never had."""
        self.serve()
        gone = [{"address": "tcp://192.0.2.1:7", "open": False, "awaited": True}]
        lost = [{"address": "tcp://192.0.2.1:7", "open": False, "awaited": False}]
        for services, superd, status, text in (
                ([service(), service("b", listeners=gone)], {}, 503, "the service b waits for tcp://192.0.2.1:7\n"),
                ([service("b", listeners=lost)], {}, 200, "ready\n"),
                ([service("b", listeners=gone, enabled=False)], {}, 200, "ready\n"),
                ([service()], {"stopping": True}, 503, "superd is draining\n"),
                ([service()], {"draining": True}, 503, "superd is draining\n")):
            self.superd.services = services
            self.superd.superd = {"version": "1", **superd}

            def is_so(status=status, text=text):
                answer, found = self.get("/readyz")
                time.sleep(0.05)
                return (answer.status, found) == (status, text)

            until(is_so)
            self.assertEqual(self.get("/livez")[0].status, 200)

    def test_superd_that_does_not_answer(self):
        """Nothing, half a line, no JSON, a refusal: each is told, and over as soon as superd answers again."""
        self.serve()
        self.get("/")
        for spoil, text in (("", "no answer"), ('{"version":1', "no answer"), ("hello\n", "not JSON"), ("[1]\n", "not JSON"),
                            ('{"version":1,"ok":false,"error":"you may not <b>look"}\n', "you may not")):
            self.superd.spoil = spoil

            def is_told(text=text):
                answer, found = self.get("/livez")
                time.sleep(0.05)
                return answer.status == 503 and text in found

            until(is_told)
            answer, page = self.get("/")
            self.assertEqual(answer.status, 503)
            self.assertIn("What follows is", page)
            self.assertNotIn("<b>look", page)
            self.assertIn("/service/echo", page)  # as it was last seen
            self.assertEqual(self.get("/readyz")[0].status, 503)
            answer, text = self.get("/status.json")
            self.assertEqual((answer.status, json.loads(text)["ok"]), (503, False))
        self.superd.spoil = None

        def is_well():
            time.sleep(0.05)
            return self.get("/livez")[0].status == 200

        until(is_well)

    def test_no_superd(self):
        self.superd.path = "/nonexistent/control.sock"
        self.serve()
        for path in ("/", "/livez", "/status.json", "/service/echo"):
            answer, text = self.get(path)
            self.assertEqual(answer.status, 503, path)
            self.assertIn("No such file", text)


class Requests(WebTest):
    def test_methods_bodies_and_paths(self):
        self.serve()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
            answer, _ = self.get("/", method, body=b"x" if method in ("POST", "PUT") else None)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"), method)
        self.assertEqual(self.get("/", body=b"x")[0].status, 413)
        self.assertEqual(self.get("/", headers={"Transfer-Encoding": "chunked"})[0].status, 413)
        for path in ("/nothing", "/service", "/service/none", "/../etc/passwd", "/style.css/"):
            self.assertEqual(self.get(path)[0].status, 404, path)

    def test_a_refused_body_is_not_the_next_request(self):
        self.serve()
        client = self.connect(self.listening)
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 48\r\n\r\n"
                       b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_all(client)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "))

    def test_head_is_get_without_the_body(self):
        self.serve()
        for path in ("/", "/status.json", "/livez", "/style.css"):
            answer, text = self.get(path, "HEAD")
            self.assertEqual((answer.status, text), (200, ""), path)
            self.assertGreater(int(answer.headers["Content-Length"]), 0)

    def test_hosts(self):
        """A name that a page elsewhere may have pointed here is not this server's."""
        self.serve("--host", "status.example.org")
        for host, status in (("127.0.0.1:7091", 200), ("[::1]", 200), ("localhost", 200), ("Status.example.org", 200),
                             ("evil.example.org", 421), ("localhost.evil.example.org", 421), ("", 421)):
            self.assertEqual(self.get("/livez", headers={"Host": host})[0].status, status, host)
        client = self.connect(self.listening)
        client.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        self.assertTrue(read_all(client).startswith(b"HTTP/1.1 400 "))
        client = self.connect(self.listening)
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")  # a load balancer's probe, and no browser
        self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 "))

    def test_fields_that_keep_browsers_from_harm(self):
        self.serve()
        for path in ("/", "/service/echo", "/status.json", "/livez", "/style.css", "/live.js", "/icon.svg", "/none"):
            fields = self.get(path)[0].headers
            policy = fields["Content-Security-Policy"]
            self.assertTrue(policy.startswith("default-src 'none'; "), path)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual((fields["X-Content-Type-Options"], fields["Referrer-Policy"], fields["Cache-Control"]),
                             ("nosniff", "no-referrer", "no-store"), path)
        page = self.get("/")[1]
        self.assertNotIn("http://", page.replace("http://www.w3.org", ""))
        self.assertNotIn("https://", page)

    def test_what_is_not_http(self):
        self.serve()
        for text in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /" + b"x" * 70000,
                     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 9000, b"GET /%00%ff?a=%&b HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            client = self.connect(self.listening)
            try:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                read_all(client)
            except (ConnectionResetError, BrokenPipeError):
                pass
        self.assertEqual(self.get("/livez")[0].status, 200)


class Many(WebTest):
    def test_two_hundred_browsers_cost_superd_what_one_does(self):
        """Each fetches the page once a second for as long as superd is asked four times, over its own connection."""
        self.serve()
        browsers = [self.connection() for _ in range(200)]
        begun = time.monotonic()
        rounds = 0
        while self.superd.count("status") < 4:
            for browser in browsers:
                answer, page = self.get("/", connection=browser)
                self.assertEqual(answer.status, 200)
                self.assertIn("/service/echo", page)
            rounds += 1
            time.sleep(max(0.0, begun + rounds - time.monotonic()))
        passed = time.monotonic() - begun
        self.assertGreaterEqual(rounds, 1)
        self.assertLessEqual(self.superd.count("status"), passed + 2)
        self.assertEqual({request["verb"] for request in self.superd.asked}, {"status", "processes"})

    def test_one_connection_to_superd_is_enough(self):
        """Nothing is asked of superd beyond the common question, whatever is looked at."""
        self.serve()
        begun = time.monotonic()
        for path in ("/", "/?find=e", "/service/echo", "/status.json", "/livez", "/readyz") * 5:
            self.get(path)
        self.assertLessEqual(self.superd.count("status"), time.monotonic() - begun + 2)

    def test_a_full_house_lets_the_silent_go(self):
        """Whoever keeps a connection for nothing makes room for the next one."""
        self.serve("--connections-max", "2")
        idle = [self.connection() for _ in range(2)]
        for connection in idle:
            self.assertEqual(self.get("/livez", connection=connection)[0].status, 200)
        for _ in range(5):
            self.assertEqual(self.get("/livez")[0].status, 200)
        self.assertEqual(idle[0].sock.recv(1), b"")

    def test_more_at_once_than_have_room(self):
        """They wait for it in the socket's queue: each is answered."""
        handler = self.serve("--connections-max", "2")
        self.assertEqual(self.get("/livez")[0].status, 200)
        handler.process.send_signal(signal.SIGSTOP)
        clients = [self.connect(self.listening) for _ in range(12)]
        for client in clients:
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        handler.process.send_signal(signal.SIGCONT)
        for client in clients:
            self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_answers_that_nobody_reads(self):
        """Those that take their answers for longest give way before these fill the memory; who reads gets all of it."""
        size = 600_000
        self.superd.services = [service(description="x" * size)]
        self.serve()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # so that the kernel does not take it all
        clients = [self.open(socket.AF_INET, socket.SOCK_STREAM) for _ in range(12)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.settimeout(60)  # so much to escape takes a busy machine its time
            client.connect(self.listening.getsockname())
            client.sendall(b"GET /service/echo HTTP/1.0\r\n\r\n")
        for client in clients:
            client.recv(1)  # its answer is there
        cut = 0
        for client in clients:
            try:
                cut += len(read_all(client)) < size
            except ConnectionResetError:
                cut += 1
        self.assertTrue(4 <= cut < 12, cut)  # a very slow machine may cut more, for their time

    def test_a_request_that_never_ends_is_cut(self):
        """A byte now and then does not keep a connection for longer than ten seconds."""
        self.serve()
        client = self.connect(self.listening)
        begun = time.monotonic()
        try:
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
            while time.monotonic() - begun < 19:
                client.settimeout(0.2)
                try:
                    if client.recv(1) == b"":
                        break
                except TimeoutError:
                    client.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.assertTrue(9 <= time.monotonic() - begun < 18)
        self.assertEqual(self.get("/livez")[0].status, 200)


class Life(WebTest):
    def test_one_connection_on_stdin(self):
        """As under fork: requests one after the other, and the end of the connection is the end."""
        client, accepted = self.tcp_pair()
        handler = self.start(self.program, "--control", self.superd.path, stdin=accepted)
        accepted.close()
        request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        self.assertEqual(read_all(client).count(b"HTTP/1.1 200 OK\r\n"), 2)
        self.expect_exit(handler)

    def test_a_client_that_has_asked_all_it_will(self):
        """Requests that were sent together and before the end are all answered, and the connection ends."""
        client, accepted = self.tcp_pair()
        handler = self.start(self.program, "--control", self.superd.path, stdin=accepted)
        accepted.close()
        client.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
                                for path in (b"/livez", b"/style.css", b"/", b"/icon.svg")))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client).count(b"HTTP/1.1 200 OK\r\n"), 4)
        self.expect_exit(handler)

    def test_a_client_that_goes_ends_it(self):
        client, accepted = self.tcp_pair()
        handler = self.start(self.program, "--control", self.superd.path, stdin=accepted)
        accepted.close()
        client.close()
        self.expect_exit(handler)

    def test_told_to_leave_it_answers_first(self):
        """TERM closes the socket at once; a request that was under way gets its answer."""
        handler = self.serve()
        self.assertEqual(self.get("/livez")[0].status, 200)
        client = self.connect(self.listening)
        until(lambda: self.superd.count("status") > 0)
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        self.assertEqual(self.get("/livez")[0].status, 200)  # so it has taken the one before
        handler.term()
        client.sendall(b"Host: localhost\r\n\r\n")
        self.assertTrue(read_all(client).startswith(b"HTTP/1.1 200 OK"))
        self.expect_exit(handler)

    def test_it_reports_its_clients_and_leaves_when_superd_closes(self):
        ours, theirs = self.pair(socket.SOCK_SEQPACKET)
        handler = self.serve("--connections-max", "3", env={"SUPERD_STATUS_FD": str(theirs.fileno())})
        theirs.close()
        said = b""
        while said.count(b"idle\n") < 3:
            said += ours.recv(4096)
        connection = self.connection()
        self.get("/livez", connection=connection)
        while b"busy\n" not in said:
            said += ours.recv(4096)
        connection.close()
        while said.count(b"idle\n") < 4:
            said += ours.recv(4096)
        ours.shutdown(socket.SHUT_WR)  # as superd does, which still reads
        self.expect_exit(handler)

    def test_a_socket_that_was_set_blocking(self):
        """It does not wait in accept where another program has set the socket blocking: it leaves when it is told to."""
        handler = self.serve()
        self.get("/livez")
        self.listening.setblocking(True)
        self.assertEqual(self.get("/livez", connection=self.connection())[0].status, 200)
        handler.term()
        self.expect_exit(handler)

    def test_max_requests_counts_connections(self):
        handler = self.serve(env={"SUPERD_MAX_REQUESTS": "2"})
        for _ in range(2):
            connection = self.connection()
            self.assertEqual(self.get("/livez", connection=connection)[0].status, 200)
            connection.close()
        self.expect_exit(handler)

    def test_wrong_usage(self):
        for arguments in (["--host"], ["--connections-max", "0"], ["--connections-max", "x"], ["--nothing"], ["extra"]):
            handler = self.start(self.program, *arguments, stdin=self.pair()[0])
            self.assertEqual(handler.wait(), 2, arguments)
            self.assertNotEqual(handler.errors(), "")
        with open("/dev/null", "rb") as null:
            handler = self.start(self.program, stdin=null)
            self.assertEqual(handler.wait(), 1)
            self.assertIn("not a stream socket", handler.errors())


class MetricsToo(WebTest):
    program = "metrics"

    def test_a_pool_of_its_own(self):
        """superd-metrics also serves a listening socket; each scrape is one question, and Host may be anything."""
        self.serve()
        connection = self.connection()
        for i in range(3):
            answer, text = self.get("/metrics", headers={"Host": "superd.example.org"}, connection=connection)
            self.assertEqual((answer.status, text), (200, "# TYPE superd_x gauge\nsuperd_x 1\n# EOF\n"))
            self.assertEqual(self.superd.count("metrics"), i + 1)
        self.assertEqual(self.superd.count("status"), 0)

    def test_scrapes_at_once(self):
        self.serve()
        connections = [self.connection() for _ in range(40)]
        for connection in connections:
            connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        for connection in connections:
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()[-6:]), (200, b"# EOF\n"))

    def test_it_has_no_host_option(self):
        handler = self.start(self.program, "--host", "x", stdin=self.pair()[0])
        self.assertEqual(handler.wait(), 2)

if __name__ == "__main__":
    main()
