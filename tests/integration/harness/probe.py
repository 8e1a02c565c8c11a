# SPDX-License-Identifier: MIT
"""Reads what the probe handler reports."""


class Report:
    """pid, sid, uid (real, effective, saved), groups, environment, descriptors, signals, limits."""

    def __init__(self, data):
        self.text = data.decode("utf-8", "surrogateescape")
        self.arguments, self.environment, self.descriptors, self.limits = [], {}, {}, {}
        self.facts = {}
        self.complete = False
        for line in self.text.splitlines():
            name, _, rest = line.partition(" ")
            if name == "arg":
                self.arguments.append(rest)
            elif name == "env":
                key, _, value = rest.partition("=")
                self.environment[key] = value
            elif name == "fd":
                number, *words = rest.split()
                self.descriptors[int(number)] = words
            elif name == "rlimit":
                limit, soft, hard = rest.split()
                self.limits[limit] = (soft, hard)
            elif name == "end":
                self.complete = True
            else:
                self.facts[name] = rest
        if not self.complete:
            raise AssertionError(f"not a whole report: {data[:2000]!r}")

    def numbers(self, name):
        return [int(part) for part in self.facts[name].split()]

    def number(self, name):
        return self.numbers(name)[0]

    @property
    def pid(self):
        return self.number("pid")
