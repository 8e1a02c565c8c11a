# SPDX-License-Identifier: MIT
"""The floors of superd: a file includes its own floor and lower ones only, floor-3 siblings never each other,
conf/toml.cc alone sees toml++, handler programs never see the supervisor, and every source names its licence.

python3 floors.py ROOT: exit 0, or 1 and a line for each breach."""

import os
import re
import sys

FLOORS = {"base": 0, "sys": 1, "conf": 2, "net": 3, "admit": 3, "proc": 3, "model": 4, "intake": 5,
          "core": 6, "handover": 7, "control": 8, "daemon": 9, "ctl": 9,
          "warm": 9, "hold": 9, "tls": 9}
PROGRAMS = 9  # main.cc, daemon/, ctl/, hold/, tls/ and warm/
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
SOURCES = (".cc", ".h", ".c", ".py", ".sh", ".cmake", "CMakeLists.txt")
SKIPPED = {".git", "build", ".cache", "__pycache__", "corpus"}  # corpora are data, whatever their first bytes


def includes(path):
    """(line, kind of quote, name) of each include."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return [(text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in INCLUDE.finditer(text)]


def files(root, *folders):
    for folder in folders:
        for directory, names, entries in os.walk(os.path.join(root, folder)):
            names[:] = sorted(set(names) - SKIPPED)
            for entry in sorted(entries):
                yield os.path.relpath(os.path.join(directory, entry), root)


def floor_breaches(root):
    for path in files(root, "superd"):
        if not path.endswith((".cc", ".h")):
            continue
        parts = path.split(os.sep)
        own = parts[1] if len(parts) > 2 else None
        if own is not None and own not in FLOORS:
            yield f"{path}: {own}/ is not a floor"
            continue
        height = PROGRAMS if own is None else FLOORS[own]
        for line, quote, name in includes(os.path.join(root, path)):
            where = f"{path}:{line}: "
            if name.startswith("toml++") and path != os.path.join("superd", "conf", "toml.cc"):
                yield where + "only conf/toml.cc includes toml++"
            if quote != '"':
                continue
            floor = name.split("/")[0]
            if "/" not in name or floor not in FLOORS:
                yield where + f'"{name}" does not name a floor'
            elif own is not None and FLOORS[floor] > height:
                yield where + f"{own}/ (floor {height}) includes {floor}/ (floor {FLOORS[floor]})"
            elif own is not None and floor != own and FLOORS[floor] == height:
                yield where + f"{own}/ and {floor}/ are siblings"


def service_breaches(root):
    for path in files(root, "services"):
        if path.endswith((".cc", ".h")):
            for line, quote, name in includes(os.path.join(root, path)):
                if quote == '"' and name.split("/")[0] in FLOORS or name.startswith("superd/"):
                    yield f"{path}:{line}: a handler includes the supervisor's {name}"


def is_script(path):
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def licence_breaches(root):
    paths = [*files(root, "superd", "services", "tests", "contrib", ".ci"), "CMakeLists.txt"]
    for path in paths:
        full = os.path.join(root, path)
        if not os.path.isfile(full) or not (path.endswith(SOURCES) or is_script(full)):
            continue
        with open(full, encoding="utf-8", errors="replace") as file:
            head = "".join(file.readline() for _ in range(3))
        if "SPDX-License-Identifier: MIT" not in head:
            yield f"{path}: no SPDX-License-Identifier: MIT in its first lines"


def main():
    root = sys.argv[1]
    breaches = [*floor_breaches(root), *service_breaches(root), *licence_breaches(root)]
    for breach in breaches:
        print(breach)
    checked = sum(1 for path in files(root, "superd") if path.endswith((".cc", ".h")))
    print(f"{checked} files of superd/ checked, {len(breaches)} breaches")
    return 1 if breaches or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
