# SPDX-License-Identifier: MIT
"""The manual pages: well formed, complete compared with the programs and the key table, and with correct examples."""

import functools
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import tomllib

from harness import SuperdCase, TestCase

SUPERCTL = os.environ["SUPERD_SUPERCTL"]
SUPERD = os.environ["SUPERD_BINARY"]
PAGES = {path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes()).decode()
         for path in pathlib.Path(os.environ["SUPERD_MANUAL"]).glob("man*/*.gz")}


def rendered(page):
    """A page as it is read, in plain text."""
    # Groff 1.23 would indent and adjust otherwise.
    return subprocess.run(["groff", "-mandoc", "-Tascii", "-P-cbou", "-rLL=200n", "-rIN=5n", "-dAD=l"],
                          input=PAGES[page], text=True, check=True, stdout=subprocess.PIPE).stdout


def displays(page):
    """The literal blocks of a page."""
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [block.replace(r"\e", "\\") for block in blocks]


@functools.cache
def options(*command):
    """What --help says of a program: (options, verbs)."""
    text = subprocess.check_output([*command, "--help"], text=True)
    verbs = re.search(r"^Subcommands:\n(.*)", text, re.MULTILINE | re.DOTALL)
    return (set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", text, re.MULTILINE)),
            set(re.findall(r"^  (\w+) ", verbs.group(1), re.MULTILINE)) if verbs else set())


class Manual(TestCase):
    def test_all_pages_are_there(self):
        self.assertEqual(set(PAGES), {"superctl.1", "superd.toml.5", "superd-worker.7", "superd-proxy.8", "superd-status.8", "superd.8"})

    def test_mandoc_and_groff_find_nothing_to_warn_about(self):
        self.assertTrue(shutil.which("mandoc") and shutil.which("groff"), "packages mandoc and groff-base are missing")
        for name, text in PAGES.items():
            for command in (["mandoc", "-T", "lint", "-W", "warning"],
                            ["groff", "-mandoc", "-Tutf8", "-ww", "-z"]):
                with self.subTest(page=name, by=command[0]):
                    done = subprocess.run(command, input=text, text=True, check=False, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT)
                    self.assertEqual(re.sub(r".*(STYLE: |outdated mandoc.db).*\n?", "", done.stdout), "")

    def test_every_key_is_described_with_its_type_range_and_default(self):
        page = rendered("superd.toml.5")
        schema = json.loads(subprocess.check_output([SUPERCTL, "schema"], text=True))
        for name, entry in schema["properties"].items():
            for key, shape in (entry["properties"] if "properties" in entry else {name: entry}).items():
                heading = f"[{name}]" if "properties" in entry else "Top of the file"
                with self.subTest(section=heading, key=key):
                    section = re.search(rf"^   {re.escape(heading)}\n(.*?)(?=^   ?\S|^\S)", page,
                                        re.MULTILINE | re.DOTALL).group(1)
                    found = re.search(rf"^     {key}(?:\n +|  +)(\S.*(?:\n {{13}}.*)*)", section, re.MULTILINE)
                    self.assertTrue(found, "no such entry")
                    text = re.sub(r"\s+", " ", found.group(1))
                    self.assertIn(shape["description"], text)
                    for choice in shape.get("enum", []):
                        self.assertIn(f'"{choice}"', text)
                    if shape.get("type") == "integer":
                        self.assertIn(f"from {shape['minimum']} to {shape['maximum']}", text)
                    if "default" in shape:
                        self.assertIn(f"the default is {json.dumps(shape['default']).strip(chr(34))}.", text)

    def test_every_option_and_verb_of_the_programs_is_described(self):
        superd, superctl = rendered("superd.8"), rendered("superctl.1")
        for option in options(SUPERD)[0]:
            with self.subTest(option):
                self.assertRegex(superd, rf"(?m)^     (-h, )?{option}\b")
        common, verbs = options(SUPERCTL)
        self.assertIn("check", verbs)
        for verb in verbs:
            with self.subTest(verb):
                entries = "".join(re.findall(rf"(?m)^     {verb}\b.*", superctl))
                self.assertTrue(entries, "no such entry")
                for option in options(SUPERCTL, verb)[0] - common:
                    self.assertIn(option, entries)
        for option in common:
            with self.subTest(option):
                self.assertRegex(superctl, rf"(?m)^     (-h, )?{option}\b")


class Examples(SuperdCase):
    @staticmethod
    def with_files(daemon, block):
        """The same with files and a user that this machine has."""
        if "[tls]" not in block:
            return block.replace("/usr/bin/rsync", "/bin/sh")
        key, certificate = daemon.path("key.pem"), daemon.path("certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=www.example.com", "-keyout", key, "-out", certificate], check=True,
                       capture_output=True)
        block = re.sub(r'"/etc/ssl/private/[^"]*"', f'"{key}"', block)
        block = re.sub(r'"/etc/ssl/[^"]*"', f'"{certificate}"', block)
        block = re.sub(r"exec = .*", 'exec = ["/bin/sh"]', block)
        return block.replace("[tls]", '[tls]\nuser = "daemon"')

    def test_the_definitions_of_the_manual_pass_check(self):
        daemon = self.prepare()
        blocks = [block for block in displays("superd.toml.5") if "listen = " in block]
        self.assertTrue(blocks)
        for number, block in enumerate(blocks):
            tomllib.loads(block)
            daemon.service(f"example-{number}", self.with_files(daemon, block))
        status, said = daemon.check()
        self.assertEqual(status, 0, said)

    def test_the_service_of_ones_own_answers(self):
        (block,) = [block for block in displays("superd.8") if "hello.toml" in block]
        text = re.search(r"<<'END'\n(.*?)END\n", block, re.DOTALL).group(1)
        daemon = self.superd({"hello": text.replace(":7777", ":0")})
        self.assertEqual(self.converse(daemon.address("hello")), b"hello 127.0.0.1")

    def test_the_worker_in_python_serves_and_leaves_when_it_has_served_its_share(self):
        (block,) = [block for block in displays("superd-worker.7") if "import " in block]
        daemon = self.prepare()
        worker = daemon.script("worker", "#!/usr/bin/python3\n" + block)
        daemon.service("worker", listen="tcp://127.0.0.1:0", model="prefork", handoff="listen", exec=[worker],
                       prefork={"min_spare": 1, "max_spare": 1, "max_requests": 2})
        daemon.start()
        address = daemon.address("worker")
        pids = set()
        for _ in range(5):
            self.assertEqual(self.converse(address), b"hello")
            pids |= {child.pid for child in daemon.children()}
        self.assertGreaterEqual(len(pids), 2, "no worker was replaced")
