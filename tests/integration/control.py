# SPDX-License-Identifier: MIT
"""superctl and the control socket, as tests use them."""

import json
import os
import socket
import subprocess

from harness import SuperdCase
from harness.daemon import PATIENCE, SANITIZER_REPORT

SUPERCTL = os.path.join(os.path.dirname(os.environ["SUPERD_BINARY"]), "..", "bin", "superctl")

NUMBER = (int, float)
TIMES = {"count": int, "sum": NUMBER, "median": (*NUMBER, type(None)), "p99": (*NUMBER, type(None))}
REFUSALS = ["instances", "max_load", "denied", "time", "per_source", "rate", "per_source_rate", "wait_timeout",
            "no_descriptors", "no_processes", "exec_failed", "gone", "penalty", "pending", "stranger", "header",
            "header_timeout", "handshake", "handshake_timeout", "tls"]
LEFT_OUT = [{"key": str, "why": str}]
RATED = {"name": str, "preset": str, "exposure": NUMBER, "rating": str, "landlock": bool, "left_out": LEFT_OUT}
SERVICE = {
    "name": str, "description": str, "enabled": bool, "state": str, "reason": str, "model": str, "handoff": str,
    "sandbox": {"preset": str, "left_out": LEFT_OUT},
    "listeners": [{"address": str, "open": bool, "awaited": bool}], "handlers": int, "limit": int, "spare": int, "held": int,
    "stalled": int, "pending": int, "accepted": int, "started": int, "failures": int, "spawn_failures": int, "replies": int,
    "reply_failures": int, "stderr_dropped": int, "sockets_mended": int, "refused": {name: int for name in REFUSALS},
    "penalised": int, "penalties": {"failed": int, "crashed": int, "refused": int, "touched": int},
    "usage": (dict, type(None)), "warm": (dict, type(None)),
    "sessions": (dict, type(None)), "cgroup": (dict, type(None)),
    "exits": {"ok": int, "failed": int, "stopped": int, "killed": int},
    "handler_seconds": TIMES, "accept_to_exec_seconds": TIMES}
PROCESS = {"service": str, "pid": int, "kind": str, "peer": str, "age_seconds": NUMBER, "busy": (bool, type(None)),
           "stopping": bool, "former": bool}
ANSWER = {"version": int, "ok": bool}
DAEMON = {"version": str, "pid": int, "started": int, "uptime_seconds": NUMBER, "draining": bool, "stopping": bool,
          "services": int, "handlers": int, "penalised": int, "processes": int,
          "reloads": {"done": int, "refused": int, "refused_because": str, "watching": (str, type(None))},
          "upgrades": {"done": int, "refused": int, "under_way": bool, "refused_because": str},
          "log_lines_lost": int, "open_descriptors": (int, type(None)), "descriptor_limit": int}
CHANGES = {**ANSWER, "changes": [{"service": str, "change": str, "keys": [str]}]}
HELD = {**ANSWER, "service": str, "state": str, "handlers": int}
PROBLEM = {"file": str, "line": int, "column": int, "service": str, "message": str, "text": str}
# contrib/man/control-protocol.md, verb by verb.
SHAPES = {
    "status": {**ANSWER, "superd": DAEMON, "services": [SERVICE]},
    "status NAME": {**ANSWER, "superd": DAEMON, "services": [SERVICE], "processes": [PROCESS], "total": int},
    "list": {**ANSWER, "services": [{"name": str, "description": str, "enabled": bool, "state": str, "model": str,
                                     "listen": [str]}]},
    "processes": {**ANSWER, "processes": [PROCESS], "total": int},
    "plan": CHANGES, "reload": CHANGES, "pause": HELD, "resume": HELD, "drain": HELD,
    "kill": {**ANSWER, "target": str, "signal": (int, type(None)), "signalled": [int]},
    "stop": {**ANSWER, "pid": int, "handlers": int},
    "drain --all": {**ANSWER, "pid": int, "handlers": int, "seconds": NUMBER},
    "explain": {**ANSWER, "service": str, "client": str, "outcome": str, "verdict": str,
                "steps": [{"step": str, "outcome": str, "text": str}]},
    "explain via": {**ANSWER, "service": str, "client": str, "via": str, "outcome": str, "verdict": str,
                    "steps": [{"step": str, "outcome": str, "text": str}]},
    "security": {**ANSWER, "services": [RATED]},
    "security NAME": {**ANSWER, "services": [
        {**RATED, "unit": str, "lines": [{"setting": str, "text": str, "exposure": NUMBER, "mend": str}]}]},
    "metrics": {**ANSWER, "format": str, "text": str},
    "check": {**ANSWER, "services": (int, type(None)), "warnings": [PROBLEM]},
    "error": {**ANSWER, "error": str},
    "errors": {**ANSWER, "error": str, "errors": [PROBLEM]},
}


class Control(SuperdCase):  # has no tests itself
    def superctl(self, daemon, *words, status=0, user=None, environment=None):
        """What superctl printed on stdout and stderr; its exit status is checked."""
        identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        done = subprocess.run([SUPERCTL, *words], env={**daemon.environment, **(environment or {})}, timeout=PATIENCE,
                              text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, **identity)
        self.assertIsNone(SANITIZER_REPORT.search(done.stderr), done.stderr)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def ask(self, daemon, *words, shape, status=0):
        """superctl --json: its answer, checked against its documented shape."""
        out, _ = self.superctl(daemon, "--json", *words, status=status)
        self.assertEqual(out.count("\n"), 1, out)
        answer = json.loads(out)
        self.assert_shape(answer, SHAPES[shape], shape)
        self.assertEqual((answer["version"], answer["ok"]), (1, status == 0))
        return answer

    def assert_shape(self, value, shape, where):
        """Exactly these members, each of its type."""
        if isinstance(shape, dict):
            self.assertIsInstance(value, dict, where)
            self.assertEqual(sorted(value), sorted(shape), where)
            for name, inner in shape.items():
                self.assert_shape(value[name], inner, f"{where}.{name}")
        elif isinstance(shape, list):
            self.assertIsInstance(value, list, where)
            for item in value:
                self.assert_shape(item, shape[0], f"{where}[]")
        else:
            self.assertIsInstance(value, shape, where)
            self.assertFalse(isinstance(value, bool) and shape in (int, NUMBER), where)

    def service_status(self, daemon, name):
        answer = daemon.ask("status", service=name)
        self.assert_shape(answer, SHAPES["status NAME"], "status NAME")
        return answer["services"][0]

    def raw(self, daemon, timeout=PATIENCE):
        """A connection to the control socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(sock.close)
        sock.settimeout(timeout)
        sock.connect(daemon.control)
        return sock

