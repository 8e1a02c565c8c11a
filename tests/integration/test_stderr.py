# SPDX-License-Identifier: MIT
"""/dev/stderr, which scripts open to write there: it is the pipe to the log once more, for handlers of every user."""

import os
import unittest

from harness import SuperdCase, exchange

# What the client gets back: whether stderr can be written to, and whether it can be opened for reading.
SCRIPT = ('echo "said by $(id -u)" > /dev/stderr && echo written; '
          '( exec 3>&2 2> /dev/null; : < /dev/fd/3 ) && echo readable; echo done')
MODELS = ("fork", "iterative", "delayed", "prefork")
READABLE = "written\nreadable\ndone\n"
WRITABLE = "written\ndone\n"


def service(**more):
    return {"listen": "tcp://127.0.0.1:0", "exec": ["sh", "-c", SCRIPT], "model": "fork"} | more


class DevStderr(SuperdCase):
    @property
    def expected(self):
        """A user who may read the files of superd's own user can also read the pipe."""
        return WRITABLE if self.root else READABLE

    def said(self, daemon, name, since=0):
        return daemon.wait_for(lambda r: r.get("stream") == "stderr" and r.get("service") == name, since=since)["message"]

    def test_it_is_written_to_by_every_model_and_read_by_no_other_user(self):
        """A handler's output to it is in the log; other handlers' output cannot be read there."""
        daemon = self.superd({model: service(model=model) for model in MODELS})
        for model in MODELS:
            with self.subTest(model):
                self.assertEqual(exchange(daemon.address(model)).decode(), self.expected)
                self.assertEqual(self.said(daemon, model), f"said by {self.handler_uid}")

    def test_it_is_written_to_by_handlers_that_own_the_socket(self):
        """A datagram handler and a worker that accepts for itself."""
        script = 'echo up > /dev/stderr && exec cat > /dev/null'
        daemon = self.superd({
            "datagram": service(listen="udp://127.0.0.1:0", exec=["sh", "-c", "echo up > /dev/stderr; cat"]),
            "worker": service(model="prefork", handoff="listen", exec=["sh", "-c", script], prefork={"min_spare": 1})})
        self.assertEqual(self.said(daemon, "worker"), "up")
        client = self.client(daemon.address("datagram"))
        client.send(b"x")
        self.assertEqual(self.said(daemon, "datagram"), "up")

    @unittest.skipUnless(os.geteuid() == 0, "only root may choose users")
    def test_it_is_every_user_s_over_reloads_and_an_upgrade(self):
        """A service has one pipe for all the users in its life."""
        if not self.root:
            self.skipTest("only root may choose users")
        daemon = self.superd({"one": service()})
        for user, number in (("nobody", self.handler_uid), ("daemon", 1), ("root", 0), ("mail", 8)):
            daemon.service("one", **service(user=user))
            daemon.reload()
            since = daemon.mark()
            self.assertEqual(exchange(daemon.address("one")).decode(), READABLE if user == "root" else WRITABLE)
            self.assertEqual(self.said(daemon, "one", since), f"said by {number}")
        since = daemon.mark()
        daemon.process.send_signal(12)  # USR2
        daemon.wait_for(lambda r: "upgraded" in r["message"], since=since)
        self.assertEqual(exchange(daemon.address("one")).decode(), WRITABLE)
        self.assertEqual(self.said(daemon, "one", since), "said by 8")

    def test_null_can_be_opened_and_a_socket_cannot(self):
        """stderr = "null" takes it; under "socket" >&2 reaches the client, and a shell says why /dev/stderr does not."""
        script = "echo plain >&2; echo opened > /dev/stderr; echo done"
        daemon = self.superd({"null": service(stderr="null"),
                              "socket": service(stderr="socket", exec=["sh", "-c", script])})
        self.assertIn("written\n", exchange(daemon.address("null")).decode())
        said = exchange(daemon.address("socket")).decode()
        self.assertTrue(said.startswith("plain\n") and said.endswith("done\n"), said)
        self.assertNotIn("opened\n", said)
        self.assertIn("No such device", said)


class DevStderrAsUser(DevStderr):
    as_user = "nobody"


@unittest.skipUnless(os.geteuid() == 0, "only root may mount, and is warned")
class SuidDumpable(SuperdCase):
    """fs.suid_dumpable belongs to the machine: only this superd sees a file that is mounted over it."""

    def warnings(self, value, **options):
        daemon = self.prepare(**options)
        file = daemon.write("value", f"{value}\n")
        daemon.prefix = ["unshare", "-m", "sh", "-c", f"mount --bind {file} /proc/sys/fs/suid_dumpable && exec \"$@\"",
                         "sh"]
        daemon.start()
        found = [record["message"] for record in daemon.find(lambda r: "suid_dumpable" in r["message"])]
        daemon.stop()
        return found

    def test_superd_warns_of_1_and_2_and_says_why(self):
        """With 1, a handler's user can trace a child that has superd's memory; with 2, have it dumped; 0 is right."""
        self.assertEqual(self.warnings(0), [])
        for value, why in ((1, "trace it"), (2, "dump core")):
            (warning,) = self.warnings(value)
            self.assertRegex(warning, f"^fs.suid_dumpable is {value}: .*{why}.*; set it to 0$")
