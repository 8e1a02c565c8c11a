# SPDX-License-Identifier: MIT
"""What people read first: links lead somewhere, and the map of DESIGN.md names what exists."""

import pathlib
import re
from xml.etree import ElementTree

from harness import SuperdCase, TestCase

ROOT = pathlib.Path(__file__).parents[2]
README, DESIGN = ROOT / "README.md", ROOT / "contrib" / "DESIGN.md"
CONTRIBUTING = ROOT / "contrib" / "CONTRIBUTING.md"


class Documents(TestCase):
    def test_links_lead_to_files_and_headings(self):
        found = 0
        for page in (README, DESIGN, CONTRIBUTING):
            for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
                path, _, heading = target.partition("#")
                if "://" in target or not re.match(r"[\w./-]*$", path):
                    continue
                file = page.parent / path if path else page
                self.assertTrue(file.exists(), f"{page.name}: {target}")
                if heading:
                    headings = [re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
                                for line in re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)]
                    self.assertIn(heading, headings)
                found += 1
        self.assertGreater(found, 5)

    def test_commands_are_programs_that_exist(self):
        for page in (README, CONTRIBUTING):
            for command in re.findall(r"(?:^    |`)(?:\./)?((?:tests|contrib)/[\w./-]+)", page.read_text(), re.MULTILINE):
                if not re.search(r"FLOOR|NAME|SUITE", command):  # a word for one of many
                    self.assertTrue((ROOT / command.rstrip("./")).exists(), f"{page.name}: {command}")

    def test_the_map_names_functions_and_files_that_exist(self):
        text = DESIGN.read_text().split("## The floors")[0]
        sources = {path.relative_to(ROOT / "superd").as_posix(): path.read_text()
                   for path in (ROOT / "superd").rglob("*.[ch]*") if path.suffix in (".cc", ".h")}
        files = re.findall(r"`(\w+/[\w/]+\.(?:cc|h))`", text)
        self.assertGreater(len(files), 10)
        self.assertEqual([file for file in files if file not in sources], [])
        functions = re.findall(r"`((?:\w+::)+\w+)`", text)
        self.assertGreater(len(functions), 20)
        everything = "\n".join(sources.values())
        for function in functions:
            owner, name = function.split("::")[-2:]
            self.assertTrue(re.search(rf"\b{owner}::{name}\(", everything) or
                            re.search(rf"\b(class|struct) {name}\b", everything) or
                            (owner.islower() and re.search(rf"\b{name}\(", everything)), function)

    def test_the_picture_needs_nothing_from_elsewhere_and_has_both_schemes_and_words(self):
        (path,) = re.findall(r"!\[[^\]]{50,}\]\(([\w./]+\.svg)\)", README.read_text())
        text = (ROOT / path).read_text()
        self.assertNotRegex(text, r"href|url\(|@import|<script|<image")
        self.assertIn("prefers-color-scheme: dark", text)
        svg = ElementTree.fromstring(text)
        self.assertIn("xinetd", svg.find("{*}desc").text)
        self.assertLessEqual(float(svg.get("width")), 900)


class Example(SuperdCase):
    def test_the_mistake_in_the_readme_is_reported_as_it_says(self):
        """Place and words of what superd says to the recipe with that mistake are the README's."""
        (shown,) = re.findall(r"^/home/me/my\.d/(shell-script\.toml:.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
        recipe = (ROOT / "contrib" / "recipes" / "shell-script.toml").read_text()
        daemon = self.prepare()
        daemon.write("conf.d/shell-script.toml", recipe.replace('"fork"', '"frok"'))
        self.assertIn(shown, daemon.check()[1])
