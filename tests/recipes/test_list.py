# SPDX-License-Identifier: MIT
"""superctl recipe, and what holds for every recipe."""

import json
import os
import shutil
import stat
import subprocess
import tomllib

from harness import TestCase
from harness.daemon import PATIENCE
from harness.place import new_folder
from place import RECIPES, SUPERCTL, RecipeCase, enter, lacking, leave, recipe_names, recipe_text
import test_files
import test_logins
import test_mail
import test_watching
import test_web


def superctl(*words, status=0):
    done = subprocess.run([SUPERCTL, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                          text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"superctl {words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Verb(TestCase):
    def setUp(self):
        self.folder = new_folder("superd-recipe-")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_each_is_listed(self):
        """Each recipe with its package and what it is: for people a line, for programs JSON."""
        lines = superctl("recipe").stdout.splitlines()
        listed = {one["name"]: one for one in json.loads(superctl("--json", "recipe").stdout)["recipes"]}
        self.assertEqual(sorted(listed), recipe_names())
        self.assertEqual([line.split()[0] for line in lines[1:]], recipe_names())
        for name, one in listed.items():
            self.assertEqual(recipe_text(name).splitlines()[0], f"# package {one['package']}: {one['what']}")
            self.assertIn(f" {one['package']} ", next(line for line in lines if line.startswith(name + " ")))

    def test_one_is_printed(self):
        """As it is in its file, and so it is written: a file for everybody to read."""
        for name in "rsync", "echo":
            self.assertEqual(superctl("recipe", name).stdout, recipe_text(name))
        answer = json.loads(superctl("recipe", "rsync", "--json").stdout)
        self.assertEqual(answer["recipe"]["toml"], recipe_text("rsync"))
        target = os.path.join(self.folder, "new")
        self.assertEqual(superctl("recipe", "rsync", "--output", target).stdout, f"{target}/rsync.toml written\n")
        with open(f"{target}/rsync.toml", encoding="utf-8") as file:
            self.assertEqual(file.read(), recipe_text("rsync"))
        self.assertEqual(stat.S_IMODE(os.stat(f"{target}/rsync.toml").st_mode), 0o644)
        self.assertEqual(os.listdir(target), ["rsync.toml"])

    def test_nothing_is_replaced(self):
        """A file that is there stays, and so does what a link leads to."""
        path = os.path.join(self.folder, "rsync.toml")
        for make in (lambda: open(path, "w", encoding="utf-8").close(), lambda: os.symlink("/nonexistent/one", path)):
            make()
            before = os.lstat(path)
            self.assertEqual(superctl("recipe", "rsync", "--output", self.folder, status=1).stderr,
                             f"superctl: {path} exists, and is not replaced\n")
            self.assertEqual(os.lstat(path), before)
            self.assertEqual(os.listdir(self.folder), ["rsync.toml"])
            os.unlink(path)

    def test_what_is_wrong_is_told(self):
        """A name that is none, a path in its place, a folder that cannot be made."""
        self.assertEqual(superctl("recipe", "rsnc", status=1).stderr,
                         'superctl: no recipe "rsnc" (did you mean "rsync"?)\n')
        self.assertEqual(superctl("recipe", "../recipes/rsync", status=1).stderr,
                         'superctl: no recipe "../recipes/rsync"; superctl recipe lists them\n')
        self.assertIn('no recipe \\"x\\"', superctl("recipe", "x", "--json", status=1).stdout)
        self.assertEqual(superctl("recipe", "rsync", "--output", f"{self.folder}/none/here", status=1).stderr,
                         f"superctl: create {self.folder}/none/here: No such file or directory\n")
        self.assertIn("--output", superctl("recipe", "--output", self.folder, status=2).stderr)


class Recipes(TestCase):
    def test_each_is_a_definition(self):
        """superctl check finds nothing but what this machine lacks. Recipes for one port are checked in turns."""
        left = recipe_names()
        while left:
            folder, taken = new_folder("superd-recipe-"), set()
            self.addCleanup(shutil.rmtree, folder)
            os.mkdir(f"{folder}/conf.d")
            for name in list(left):
                listen = tomllib.loads(recipe_text(name))["listen"]
                ports = {address.rpartition(":")[2] for address in ([listen] if isinstance(listen, str) else listen)}
                if not ports & taken:
                    taken |= ports
                    left.remove(name)
                    shutil.copy(os.path.join(RECIPES, name + ".toml"), f"{folder}/conf.d")
            with open(f"{folder}/superd.toml", "w", encoding="utf-8"):
                superctl("check", "--portable", "--conf-dir", f"{folder}/conf.d", "--config", f"{folder}/superd.toml")

    def test_each_is_tested(self):
        """Each recipe has a test in which its client uses it, and no test is without a recipe."""
        tested = [name.removeprefix("test_").replace("_", "-")
                  for module in (test_files, test_logins, test_mail, test_watching, test_web)
                  for case in vars(module).values()
                  if isinstance(case, type) and issubclass(case, RecipeCase) and case is not RecipeCase
                  for name in dir(case) if name.startswith("test_")]
        self.assertEqual(sorted(tested), recipe_names())
        self.assertGreaterEqual(len(tested), 30)

    def test_each_says_what_confines_it(self):
        """Each names its preset, and none is without one."""
        for name in recipe_names():
            definition = tomllib.loads(recipe_text(name))
            self.assertIn(definition["sandbox"]["preset"], ("strict", "base"), name)
            self.assertIn("user", definition if not definition["exec"][0].startswith("superd-") and
                          not definition["exec"][0].startswith(("/bin/sh", "/usr/bin/python3")) else {"user": 0}, name)


class Programs(TestCase):
    @classmethod
    def setUpClass(cls):
        at = new_folder("superd-machine-")
        cls.addClassCleanup(leave, at)
        enter(at)

    def test_thirty_are_there(self):
        """The tests of clients skip a recipe whose program cannot be had: at least thirty are not skipped."""
        reasons = {name: lacking(recipe_text(name)) for name in recipe_names()}
        self.assertGreaterEqual(list(reasons.values()).count(""), 30, reasons)
