# SPDX-License-Identifier: MIT
"""superctl schema against the parser: the same files go through a JSON Schema validator and through superctl check."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

from harness import place

try:
    import jsonschema
except ImportError:
    jsonschema = None

SUPERCTL = os.environ["SUPERD_SUPERCTL"]
CONF_D = pathlib.Path(__file__).parents[2] / "conf.d"

PLAIN = {"listen": '"tcp://127.0.0.1:0"', "model": '"fork"', "exec": '["sh"]'}

GOOD = {
    "least": "",
    "arrays": """listen = ["tcp://*:0", "tcp://[::1]:0", "tcp://127.0.0.1:finger"]
        supplementary_groups = []""",
    "unix": 'listen = "unix://@superd-schema"',
    "inherited": 'listen = "systemd:web"',
    "units": 'stop_timeout = "1h30m"\nmax_lifetime = "1d"\n[delayed]\ndelay = "1500us"',
    "umask in quotes": 'umask = "0027"',
    "umask as an octal number": "umask = 0o27",
    "signal by name": 'stop_signal = "SIGHUP"',
    "signal by number": "stop_signal = 15",
    "environment": 'environment = { TZ = "UTC", _x1 = "" }\npass_environment = ["LANG"]',
    "socket": '[socket]\nbacklog = 65535\nkeepalive = true\nkeepalive_time = "2m"\nreceive_buffer = "64K"\ntos = 0',
    "limits": """[limits]
        instances = 1000000
        rate = "100/s"
        burst = 5
        per_source_rate = "1/d"
        max_load = 0.5
        on_excess = "reject"
        reject_text = "later\\n" """,
    "access": """[access]
        allow = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::ffff:192.0.2.2"]
        deny = "10.1.0.0/16"
        times = ["Mon-Fri 08:00-18:00", "sat,SUN 22:00-06:00", "00:00-24:00"]
        on_deny = "drop" """,
    "rlimits": """[rlimits]
        nofile = [64, 128]
        nproc = 20
        as = "64M"
        core = 0
        cpu = "unlimited"
        data = ["1M", "unlimited"] """,
    "resources": """[resources]
        memory_max = "64M"
        memory_swap_max = "0K"
        pids_max = 20
        cpu_max = "150%"
        leftovers = "end" """,
    "log": '[log]\nconnections = "all"',
}

BAD = {
    "no such model": 'model = "frok"',
    "no such key": 'lisen = "tcp://127.0.0.1:0"',
    "no such section": "[limit]\ninstances = 1",
    "key in the wrong section": "[prefork]\ninstances = 1",
    "section that is no table": "limits = 5",
    "duration without its unit": "stop_timeout = 10",
    "duration without its unit, in quotes": 'stop_timeout = "10"',
    "duration with its units in the wrong order": 'stop_timeout = "30m1h"',
    "duration in words": 'stop_timeout = "ten seconds"',
    "duration of nothing": '[delayed]\ndelay = "0s"',
    "duration that is empty": 'stop_timeout = ""',
    "size without its unit": "[socket]\nreceive_buffer = 65536",
    "size in small letters": '[socket]\nsend_buffer = "64k"',
    "too small": "[limits]\ninstances = 0",
    "too large": "[socket]\nbacklog = 65536",
    "negative": "nice = -21",
    "a string for a number": '[limits]\ninstances = "20"',
    "a number for a boolean": "[socket]\nnodelay = 1",
    "a string for an array": 'exec = "sh"',
    "an empty array": "exec = []",
    "no address": "listen = []",
    "an address without its scheme": 'listen = "127.0.0.1:79"',
    "an address of another scheme": 'listen = ["http://127.0.0.1:0"]',
    "rate without a unit": "[limits]\nrate = 100",
    "rate of nothing": '[limits]\nrate = "0/s"',
    "rate in an unknown time": '[limits]\nrate = "5/w"',
    "load of nothing": "[limits]\nmax_load = 0",
    "prefix in words": '[access]\nallow = "localhost"',
    "time of day past midnight": '[access]\ntimes = "08:00-25:00"',
    "no such day": '[access]\ntimes = "Mo-Fr 08:00-18:00"',
    "umask that is not octal": 'umask = "0o28"',
    "umask with too many bits": 'umask = "1000"',
    "no such signal": 'stop_signal = "STOPP"',
    "signal zero": "stop_signal = 0",
    "three limits": "[rlimits]\nnofile = [1, 2, 3]",
    "percentage without its sign": '[resources]\ncpu_max = "50"',
    "percentage of nothing": '[resources]\ncpu_max = "0%"',
    "limit in words": '[rlimits]\nnofile = "many"',
    "number in quotes for a count": '[rlimits]\nnproc = "20"',
    "variable with a bad name": 'environment = { "A-B" = "1" }',
    "variable that is a number": "environment = { A = 1 }",
}

# What each key is tried with.
VALUES = ["true", "0", "1", "-1", "7", "99", "512", "70000", "10000000", "10000000000000", "0.5", "-0.5", "nan",
          '""', '"x"', '"0"', '"7"', '"022"', '"0888"', '"10s"', '"1h30m"', '"30m1h"', '"0s"', '"10 s"', '"1500ms"',
          '"64K"', '"50%"', '"050%"', '"0%"', '"0K"', '"64k"', '"9T"', '"100/s"', '"0/s"', '"1000000/d"', '"1000001/m"', '"01/h"', '"30/w"',
          '"TERM"', '"SIGTERM"', '"SIGTERMINATE"', '"unlimited"', '"10.0.0.0/8"', '"2001:db8::/032"', '"ten"',
          '"Mon-Fri 08:00-18:00"', '"08:00-24:00"', '"Monday 08:00-18:00"', '"24:00-08:00"', '"tcp://127.0.0.1:0"',
          '"/"', '"nobody"', "[]", '["sh"]', "[1]", '["10.0.0.0/8"]', "[1, 2]", '["1K", "unlimited"]', "[1, 2, 3]",
          "{}", '{ A = "b" }', '{ 1A = "b" }', "{ A = 1 }", "1979-05-27", "07:32:00"]

# Errors that a value deserves whatever stands beside it and wherever superd runs; but for ranges with units, which a
# pattern cannot hold.
FORM = re.compile(r"expected .*, found |is not one of |is not a duration|has no unit|is not a size|is not octal|"
                  r"is not a signal|is negative|is neither a number nor|must be \[soft, hard\]|is not a rate|"
                  r"is not a prefix|is empty|is not a variable's name|must be days and times|is not a day|"
                  r"is not a time of day|must begin with one of|begins at 24:00|"
                  r"is out of range (?!\d+\w* to \d+[a-zA-Z])")


def check(files):
    """What superctl check says about each of these: name to a list of messages, empty if there are none."""
    with tempfile.TemporaryDirectory(prefix="superd-schema-", dir=place.base()) as folder:
        for name, text in files.items():
            pathlib.Path(folder, name + ".toml").write_text(text)
        none = pathlib.Path(folder, ".superd.toml")
        none.touch()
        done = subprocess.run([SUPERCTL, "check", "--config", none, "--conf-dir", folder], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode in (0, 1), done.stdout
        found = {name: [] for name in files}
        for name, message in re.findall(rf"^{re.escape(folder)}/([^:]*)\.toml(?::\d+:\d+)?: error: (.*)$", done.stdout,
                                        re.MULTILINE):
            found[name].append(message)
        assert done.returncode == (1 if any(found.values()) else 0), done.stdout
        return found


def whole(text):
    """The text, completed to a service."""
    given = set(re.findall(r"^\s*(\w+) = ", text, re.MULTILINE))
    return "".join(f"{key} = {value}\n" for key, value in PLAIN.items() if key not in given) + text + "\n"


@unittest.skipUnless(jsonschema, "needs the package python3-jsonschema")
class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = json.loads(subprocess.check_output([SUPERCTL, "schema"], text=True))
        cls.validator = jsonschema.Draft7Validator(cls.schema)

    def complaints(self, text):
        return [error.message for error in self.validator.iter_errors(tomllib.loads(text))]

    def test_it_is_a_schema_of_draft_7(self):
        jsonschema.Draft7Validator.check_schema(self.schema)
        self.assertEqual(self.schema["$schema"], "http://json-schema.org/draft-07/schema#")

    def test_the_shipped_definitions_fit(self):
        for path in sorted(CONF_D.glob("*.toml")):
            with self.subTest(path.name):
                self.assertEqual(self.complaints(path.read_text()), [])

    def test_parser_and_schema_agree_on_files_good_and_bad(self):
        files = {name.replace(" ", "_").replace(",", ""): whole(text) for name, text in (GOOD | BAD).items()}
        parser = check(files)
        for (name, text), good in zip(files.items(), [True] * len(GOOD) + [False] * len(BAD)):
            with self.subTest(name):
                self.assertEqual(parser[name] == [], good, parser[name])
                self.assertEqual(self.complaints(text) == [], good, self.complaints(text))

    def test_a_missing_key_is_missed_but_in_a_drop_in(self):
        drop_in = json.loads(subprocess.check_output([SUPERCTL, "schema", "--drop-in"], text=True))
        for key in PLAIN:
            text = "".join(f"{other} = {value}\n" for other, value in PLAIN.items() if other != key)
            with self.subTest(key):
                self.assertRegex("; ".join(check({"a": text})["a"]), f"^{key} is missing[^;]*$")
                self.assertEqual(self.complaints(text), [f"'{key}' is a required property"])
                jsonschema.validate(tomllib.loads(text), drop_in)

    def test_whatever_value_a_key_is_given_the_schema_refuses_what_has_the_wrong_form_and_no_more(self):
        keys = []
        for name, entry in self.schema["properties"].items():
            keys += [(name, inner) for inner in entry["properties"]] if "properties" in entry else [("", name)]
        files, forms = {}, {}
        for section, key in keys:
            properties = self.schema["properties"]
            entry = (properties[section]["properties"] if section else properties)[key]
            form = json.dumps({word: entry[word] for word in entry if word not in ("description", "default")})
            # The first key of a form gets every value, each further one a third of them, and the next one other ones.
            turn = forms[form] = forms.get(form, -1) + 1
            for number, value in enumerate(VALUES):
                if turn > 0 and (number + turn) % 3:
                    continue
                text = f"[{section}]\n{key} = {value}" if section else f"{key} = {value}"
                files[f"{section}_{key}-{number}".lstrip("_")] = whole(text)
        self.assertGreater(len(files), 3000)
        parser = check(files)
        too_strict = [text for name, text in files.items() if not parser[name] and self.complaints(text)]
        too_lax = [(text, parser[name]) for name, text in files.items()
                   if any(map(FORM.search, parser[name])) and not self.complaints(text)]
        self.assertEqual(too_strict, [])
        self.assertEqual(too_lax, [])


if __name__ == "__main__":
    unittest.main()
