# SPDX-License-Identifier: MIT
"""The programs as they are installed: placed anywhere in memory, sealed after relocation, and compiled with the
compiler's protections against memory corruption. A build with sanitizers differs."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import TestCase

FOLDER = pathlib.Path(os.environ["SUPERD_PACKAGE_FOLDER"])
CACHE = FOLDER / "CMakeCache.txt"
DYNAMIC = {"superd-proxy", "superd-metrics", "superd-status", "superd-tls", "superd", "superctl"}
SCRIPTS = "superd-weekday", "superd-load"
ENDBR64 = bytes.fromhex("f30f1efa")  # possible targets of an indirect jump


def readelf(*words):
    return subprocess.check_output(["readelf", "--wide", *words], text=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]})


@unittest.skipUnless(shutil.which("readelf"), "needs readelf, from the package binutils")
class Binary(TestCase):  # has no tests itself
    def check(self, path, is_static):
        segments, dynamic = readelf("--file-header", "--segments", path), readelf("--dynamic", path)
        self.assertRegex(segments, r"Type: +DYN ", "not position-independent")
        self.assertIn("PIE", dynamic)
        self.assertEqual("INTERP" not in segments, is_static, "static or not")
        self.assertEqual("(NEEDED)" not in dynamic, is_static, "static or not")
        self.assertIn("GNU_RELRO", segments)
        self.assertRegex(dynamic, r"\bBIND_NOW\b|Flags: .*\bNOW\b")
        self.assertNotRegex(segments, r"(?m)^ +(LOAD|GNU_STACK) .* RWE ", "memory both writable and executable")


class Starter(Binary):
    def test_what_starts_handlers_is_a_static_pie_in_every_build(self):
        """It is built without sanitizers even here."""
        for name in "superd-exec", "superd-hold", "superd-launch", "superd-warm":
            self.check(pathlib.Path(os.environ["SUPERD_LIBEXEC"], name), True)


@unittest.skipUnless(CACHE.exists(), "needs the package's build")
class Installed(Binary):
    @classmethod
    def setUpClass(cls):
        handlers = [path for path in sorted((FOLDER / "libexec/superd").iterdir()) if path.name not in SCRIPTS]
        cls.programs = [FOLDER / "sbin/superd", FOLDER / "bin/superctl", *handlers]
        cls.has = set(re.findall(r"(?m)^SUPERD_(?:HAS_|CAN_)(\w+):INTERNAL=1$", CACHE.read_text()))

    def test_each_is_a_pie_that_is_sealed_after_relocation(self):
        self.assertGreater(len(self.programs), 7)
        for path in self.programs:
            with self.subTest(path.name):
                self.check(path, path.name not in DYNAMIC and "LINK_STATIC" in self.has)

    def test_all_code_is_compiled_with_what_the_compiler_has(self):
        """The flags are in each command; if they leave a trace, it is in the programs."""
        flags = ["-fstack-protector-strong", "-fPIE"]
        flags.append("-D_FORTIFY_SOURCE=3" if "FORTIFY_3" in self.has else "-D_FORTIFY_SOURCE=2")
        known = {"fstack_clash_protection": "-fstack-clash-protection", "fcf_protection_full": "-fcf-protection=full",
                 "mbranch_protection_standard": "-mbranch-protection=standard"}
        flags += [flag for name, flag in known.items() if name in self.has]
        commands = re.findall(r'"command": "(.*)"', (FOLDER / "compile_commands.json").read_text())
        self.assertGreater(len(commands), 25)  # several files each
        for command in commands:
            self.assertEqual([flag for flag in flags if f" {flag} " not in command], [], command)
        for path in self.programs:
            with self.subTest(path.name):
                if "fcf_protection_full" in self.has:
                    self.assertIn(ENDBR64, path.read_bytes())
                self.assertIn("__stack_chk_fail", readelf("--symbols", path))
        self.assertRegex(readelf("--dyn-syms", FOLDER / "sbin/superd"), r"__\w+_chk@", "nothing is fortified")

    def test_the_compiler_s_words_are_known_here(self):
        """GCC on x86-64 has all of it, so a check in the build that fails for another reason is found."""
        version = subprocess.check_output(["c++", "--version"], text=True)
        if os.uname().machine != "x86_64" or not re.search(r"\(.*\) 1[2-9]\.", version) or "clang" in version:
            self.skipTest("GCC 12 or later on x86-64 is what is known")
        self.assertLessEqual({"fstack_clash_protection", "fcf_protection_full", "FORTIFY_3", "LINK_STATIC"}, self.has)
