# SPDX-License-Identifier: MIT
"""The floor test finds each kind of breach."""

import os
import tempfile
import unittest

import floors

SPDX = "// SPDX-License-Identifier: MIT\n"


class Floors(unittest.TestCase):
    def breaches(self, **sources):
        with tempfile.TemporaryDirectory() as root:
            for name, text in sources.items():
                path = os.path.join(root, name.replace("__", "/").replace("_cc", ".cc").replace("_h", ".h"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(SPDX + text)
            return [*floors.floor_breaches(root), *floors.service_breaches(root)]

    def test_own_and_lower_floors_are_fine(self):
        """A file may include its own floor, lower ones, and the system."""
        self.assertEqual(self.breaches(superd__net__a_cc='#include "net/a.h"\n#include "sys/fd.h"\n#include <vector>\n',
                                       superd__main_cc='#include "core/supervisor.h"\n'), [])

    def test_higher_floors_are_found(self):
        """An include of a higher floor is found with its line."""
        found = self.breaches(superd__sys__a_cc='#include "base/error.h"\n#include "conf/service.h"\n')
        self.assertEqual(found, ["superd/sys/a.cc:3: sys/ (floor 1) includes conf/ (floor 2)"])

    def test_siblings_are_found(self):
        """net, admit and proc never include each other."""
        self.assertEqual(self.breaches(superd__proc__a_h='#include "net/listener.h"\n'),
                         ["superd/proc/a.h:2: proc/ and net/ are siblings"])

    def test_toml_is_found(self):
        """toml++ anywhere but in conf/toml.cc is found."""
        include = "#include <toml++/toml.h>\n"
        self.assertEqual(len(self.breaches(superd__conf__schema_cc=include, superd__conf__toml_cc=include)), 1)

    def test_handlers_that_know_the_supervisor_are_found(self):
        """services/ includes nothing of superd/."""
        self.assertEqual(len(self.breaches(services__echo_cc='#include "base/error.h"\n')), 1)

    def test_unknown_folders_are_found(self):
        """A folder that is not a floor, and an include that names none, are found."""
        self.assertEqual(len(self.breaches(superd__util__a_h="", superd__net__b_h='#include "b.h"\n')), 2)


if __name__ == "__main__":
    unittest.main()
