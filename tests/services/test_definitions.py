# SPDX-License-Identifier: MIT
"""conf.d shows every handler and every model, on addresses that anyone may take. superd itself checks its keys."""

import collections
import os
import pathlib
import re
import tomllib
import unittest

from harness import LIBEXEC

CONF_D = pathlib.Path(__file__).parents[2] / "conf.d"


class Definitions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.services = {path.stem: tomllib.loads(path.read_text()) for path in sorted(CONF_D.glob("*.toml"))}

    def addresses(self):
        for name, service in self.services.items():
            listen = service["listen"]
            for address in [listen] if isinstance(listen, str) else listen:
                yield name, address

    def test_each_has_a_description_and_needs_no_root(self):
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertTrue(service["description"])
                self.assertNotIn("user", service)

    def test_addresses_are_on_loopback_from_7000_up_and_taken_once(self):
        for name, address in self.addresses():
            with self.subTest(name):
                found = re.fullmatch(r"(tcp|udp)://(127\.0\.0\.1|\[::1\]):(7\d\d\d)", address)
                self.assertTrue(found, address)
        taken = collections.Counter(address for _, address in self.addresses())
        self.assertEqual([address for address, times in taken.items() if times > 1], [])

    def test_all_handlers_and_models_are_shown(self):
        shown = {(service["exec"][0], address.partition(":")[0])
                 for name, service in self.services.items() for _, address in self.addresses() if _ == name}
        self.assertEqual(shown, {(handler, kind) for kind in ("tcp", "udp")
                                 for handler in os.listdir(LIBEXEC)
                                 if handler in {"superd-" + n for n in ("echo", "discard", "daytime", "time", "chargen")}} | {
                                     (name, "tcp") for name in ("superd-metrics", "superd-proxy", "superd-status", "superd-weekday", "superd-load")})
        models = {(service["model"], service.get("handoff", "connection")) for service in self.services.values()}
        self.assertLessEqual({("fork", "connection"), ("iterative", "connection"), ("delayed", "connection"),
                              ("prefork", "connection"), ("prefork", "listen")}, models)

    def test_datagram_services_do_not_answer_each_other(self):
        for name, address in self.addresses():
            command = self.services[name]["exec"]
            if address.startswith("udp:") and command[0] != "superd-discard":
                self.assertEqual(command[1:3], ["--min-port", "8000"], name)


if __name__ == "__main__":
    unittest.main()
