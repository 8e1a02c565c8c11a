# SPDX-License-Identifier: MIT
"""Programs as warm handlers: served as under fork, and their rows of the table in superd.toml(5)."""

import concurrent.futures
import fcntl
import os
import re

from release import is_debian_12
from test_handlers import HandlerCase
from upgrading import UpgradeCase

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib", "man", "superd.toml.5.in")
BEGIN, END = '.\\" programs: SUPERD_WRITE_WARM=1 ctest -R handlers/warm', '.\\" end of programs'
PATIENCE = 60.0  # for a start under the tracer on a busy machine
AT_ONCE = 8


def check_row(case, program, value, remarks):
    """Compares the program's row of the table with what was found, or writes it if SUPERD_WRITE_WARM is set. The table is
    of Debian 12: other versions do other things before a client comes."""
    if not is_debian_12():
        return
    made = f'.It "{program}" Ta {value} Ta "{remarks}"'
    with open(PAGE, "r+", encoding="utf-8") as page:
        fcntl.flock(page, fcntl.LOCK_EX)  # tests run side by side
        before, rest = page.read().split(BEGIN + "\n")
        table, after = rest.split(END + "\n")
        begin, title, *rows, end = table.splitlines()
        others = [line for line in rows if not line.startswith(f'.It "{program}" ')]
        if not os.environ.get("SUPERD_WRITE_WARM"):
            case.assertIn(made, rows, "superd.toml(5) says something else; to rewrite it: SUPERD_WRITE_WARM=1")
        else:
            page.seek(0)
            rows = sorted([*others, made], key=str.lower)
            page.write(before + "\n".join([BEGIN, begin, title, *rows, end, END, after]))
            page.truncate()


class WarmProgramCase(HandlerCase, UpgradeCase):  # has no tests itself
    def service_of(self, daemon, name):
        """What its status tells."""
        return daemon.ask("status", service=name)["services"][0]

    def settled(self, daemon, name):
        """Its warmth, once handlers wait for clients, by whatever value is in force."""
        def known():
            service = self.service_of(daemon, name)
            return service["spare"] >= 2 and service["warm"]
        return self.eventually(known, f"{name}: two spare ones", PATIENCE)

    def serves(self, program, daemon, exec_, ask, keys=None, within="60s"):
        """`ask(uri)` gets the same from the program under fork, and warm by its own start and by copies: from those
        that wait, and from more clients at once than wait. Less than was asked for is told once."""
        daemon.service("fork", listen="tcp://127.0.0.1:0", model="fork", exec=exec_, **(keys or {}))
        for value in ("start", "clone"):
            daemon.service(value, listen="tcp://127.0.0.1:0", model="prefork", exec=exec_, **(keys or {}),
                           prefork={"warm": value, "warm_within": within, "min_spare": 2, "max_spare": 4})
        daemon.start()
        expected = ask(daemon.address("fork"))
        for value in ("start", "clone"):
            with self.subTest(program=program, warm=value):
                warm = self.settled(daemon, value)
                self.assertEqual(ask(daemon.address(value)), expected)
                with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                    answers = list(pool.map(ask, [daemon.address(value)] * AT_ONCE))
                self.assertEqual(answers, [expected] * AT_ONCE)
                after = self.service_of(daemon, value)
                self.assertEqual(after["warm"]["in_force"], warm["in_force"], after["warm"]["reason"])
                self.assertEqual((after["accepted"], after["spawn_failures"]), (AT_ONCE + 1, 0))
                if warm["in_force"] == "clone":
                    self.assertGreater(after["warm"]["copies"], warm["copies"])
                self.assertEqual(warm["in_force"] != value, warm["reason"] != "")
                told = daemon.find(lambda r, value=value: r.get("service") == value and "instead of" in r["message"])
                self.assertEqual(len(told), int(warm["in_force"] != value))
        check_row(self, program, warm["in_force"], self.remarks(warm))

    @staticmethod
    def remarks(warm):
        """Why it is not more, or what its copies share."""
        if warm["reason"]:
            return re.sub(r" \(.*", "", warm["reason"])
        facts = warm["facts"]
        shared = [text for fact, text in (("asked_pid", "asks for its pid"), ("drew_random", "draws random numbers"))
                  if facts[fact]]
        return " and ".join(shared) or "nothing"
