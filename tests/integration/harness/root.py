# SPDX-License-Identifier: MIT
"""A root of this distribution for tests of the package and the service manager: made by mmdebstrap once for a build
folder, from the mirror that apt is configured for, and kept there as an archive."""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import unittest
import urllib.request
import zlib

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
FOLDER = pathlib.Path(os.environ["SUPERD_PACKAGE_FOLDER"])
PACKAGE = next(FOLDER.glob("superd_*.deb"), None)
# What nobody reads there: a third of it.
UNREAD = 'find "$1/usr/share/doc" "$1/usr/share/locale" "$1/usr/share/man" -type f -delete'
SYMBOLS = next(FOLDER.glob("superd-dbgsym_*.deb"), None)
NO_PACKAGE = "needs dpkg-shlibdeps, which this was configured without, to build a package"


def field(name, package=PACKAGE):
    """Of the package."""
    return subprocess.check_output(["dpkg-deb", "--field", package, name], text=True).strip()


def mirror():
    """The repository that this system's main component comes from, by apt's own account: (uri, suite), or nothing."""
    suite = re.search(r"^VERSION_CODENAME=(\S+)", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)
    wanted = "$(CREATED_BY) $(COMPONENT) $(CODENAME) $(REPO_URI)"
    listed = subprocess.run(["apt-get", "indextargets", "--format", wanted], text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    found = re.search(rf"^Packages main {suite.group(1)} (\S+)$", listed, re.MULTILINE) if suite else None
    return (found.group(1), suite.group(1)) if found else None


def proxies():
    """apt's, for programs that know them by their environment."""
    words = subprocess.run(["apt-config", "shell", "http", "Acquire::http::Proxy", "https", "Acquire::https::Proxy"],
                           text=True, check=False, stdout=subprocess.PIPE).stdout
    return {f"{scheme}_proxy": uri for scheme, uri in re.findall(r"^(https?)='(.*)'$", words, re.MULTILINE)}


def archive(more=()):
    """A tar of a minimal system with systemd, the package's dependencies and `more` packages, but without the package.
    Skips the test with a reason if that is not possible."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root to make a separate root")
    source = mirror()
    if not shutil.which("mmdebstrap") or source is None:
        raise unittest.SkipTest("needs mmdebstrap, and a system whose apt knows its own suite")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode != 0:
        raise unittest.SkipTest("needs a kernel and a container that let root unshare mounts and processes")
    needed = re.findall(r"(?:^|, )([^ ,|]+)", field("Depends")) + ["systemd-sysv"]
    kind = f"with-{len(more)}-{zlib.crc32(' '.join(more).encode()):x}" if more else "root"
    kept = FOLDER / f"{kind}-{source[1]}-{'-'.join(needed)}.tar"
    with open(FOLDER / "root.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tests may want it at the same time
        if not kept.exists():
            make(kept, source, needed, kind, more)
    return kept


def make(kept, source, needed, kind, more):
    os.environ.update(proxies())
    try:
        with urllib.request.urlopen(f"{source[0]}dists/{source[1]}/InRelease", timeout=20):
            pass
    except OSError as error:
        raise unittest.SkipTest(f"apt's mirror cannot be reached: {error}") from error
    for old in FOLDER.glob(f"{kind}-*.tar*"):
        old.unlink()
    new = kept.with_suffix(".new.tar")
    run("mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/reproducible",  # it would lose its identity
        # Without it apt takes usrmerge, and all of Perl for that.
        "--include=usr-is-merged", "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        f"--include={','.join([*needed, *more])}", f"--customize-hook={UNREAD}", source[1], new, source[0])
    new.rename(kept)


def run(*command):
    done = subprocess.run(command, text=True, check=False, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout[-2000:]}")
