# SPDX-License-Identifier: MIT
"""A virtual machine with the distribution's own kernel and systemd, and superd in it from its package. Its root is in
memory, it has no disk and no network but its loopback, and commands go in and out over a serial line."""

import json
import os
import pathlib
import platform
import re
import resource
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from harness import root

# Runs each line that comes, with \n for a newline in it, and answers with its exit status and what it said, up to a zero
# byte. Where the processor is emulated, each program that it started for that would take a tenth of a second.
AGENT = r"""stty raw -echo -F /dev/ttyS1
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/null
printf 'ready\0'
while IFS= read -r line; do
    printf -v command %b "$line"
    (unset line said status; eval "$command") </dev/null >/run/said 2>&1
    status=$?
    IFS= read -r -d '' said </run/said
    printf '%s %s\0' $status "$said"
done
"""
UNIT = "[Service]\nExecStart=bash /agent\nOOMScoreAdjust=-1000\n"
KERNEL = "linux-image-cloud-amd64"
# Emulation works everywhere; KVM is not to be had on every machine that has /dev/kvm.
BOOT_TIME = {"kvm": 60, "tcg": 240}
# Until the kernel says something, where KVM works: seconds, and seconds of the processor.
FIRST_WORDS = 15
FIRST_WORK = 2
PATIENCE = 120


# Units that have nothing to do there.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
          "e2scrub_reap.service", "fstrim.timer", "getty.target", "systemd-binfmt.service", "systemd-firstboot.service",
          "systemd-logind.service", "systemd-modules-load.service", "systemd-pstore.service",
          "systemd-random-seed.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service")


def kernel():
    """The distribution's kernel, from its package; kept beside the root that the machine starts from."""
    needed = subprocess.run(["apt-cache", "depends", "--important", KERNEL], text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    name = re.search(r"Depends: (linux-image-\S+)", needed)
    if name is None:
        raise unittest.SkipTest(f"apt does not know {KERNEL}")
    kept = root.FOLDER / f"vm-{name.group(1)}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="superd-kernel-", dir=root.FOLDER) as folder:
            got = subprocess.run(["apt-get", "--quiet", "-o", "APT::Sandbox::User=root", "download", name.group(1)], cwd=folder, text=True, check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if got.returncode != 0:
                raise unittest.SkipTest(f"{name.group(1)} is not to be had: {got.stdout.strip().splitlines()[-1]}")
            (package,) = pathlib.Path(folder).glob("*.deb")
            root.run("dpkg-deb", "--extract", package, folder)
            (image,) = pathlib.Path(folder).glob("boot/vmlinuz-*")
            image.rename(kept)
    return kept


def image(folder, packages, bring):
    """The root with superd's package installed, or what `bring` does instead, as an archive that the kernel unpacks into
    memory."""
    tree, packed = pathlib.Path(folder, "root"), pathlib.Path(folder, "initrd")
    tree.mkdir()
    root.run("tar", "--extract", "--file", root.archive(packages), "--directory", tree)
    for path in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/lib/apt/lists", "var/cache/apt"):
        shutil.rmtree(tree / path, ignore_errors=True)
    bring(tree)
    (tree / "agent").write_text(AGENT)
    (tree / "etc/systemd/system/agent.service").write_text(UNIT)
    wanted = tree / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    os.symlink("../agent.service", wanted / "agent.service")
    for name in MASKED:
        os.symlink("/dev/null", tree / "etc/systemd/system" / name)
    with open(packed, "wb") as out:
        names = subprocess.run(["find", ".", "-print0"], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "--null", "--create", "--format", "newc", "--quiet"], cwd=tree, input=names, check=True,
                       stdout=out)
    shutil.rmtree(tree)
    return packed


def install(tree):
    shutil.copy(root.PACKAGE, tree / "superd.deb")
    root.run("chroot", tree, "dpkg", "--install", "/superd.deb")
    (tree / "superd.deb").unlink()
    # They would find nothing, at each start and at each reload of the manager, most of whose work it is.
    shutil.rmtree(tree / "usr/lib/systemd/system-generators")
    for path in ("usr/lib/apt", "usr/lib/x86_64-linux-gnu/gconv", "usr/share/zoneinfo"):
        shutil.rmtree(tree / path, ignore_errors=True)


def writing(path, text):
    """The command for that."""
    folder = os.path.dirname(path)
    return f"[ -d {folder} ] || mkdir -p {folder}; printf %s {shlex.quote(text)} >{path}"


class Vm:
    """Skips the test if it is not possible. `packages`: that it has besides; `memory`: in MiB."""

    def __init__(self, packages=(), bring=install, memory=1024):
        self.memory = memory
        self.qemu, self.line, self.folder, self.left = None, None, None, b""
        if root.PACKAGE is None:
            raise unittest.SkipTest(root.NO_PACKAGE)
        if platform.machine() != "x86_64":
            raise unittest.SkipTest("knows only x86-64's machine")
        for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")):
            if not shutil.which(program):
                raise unittest.SkipTest(f"needs {program}, from the package {package}")
        root.archive(packages)  # skips, where there can be none
        image_of_kernel = kernel()
        self.folder = tempfile.mkdtemp(prefix="superd-vm-")
        try:
            initrd = image(self.folder, packages, bring)
            for accelerator in (["kvm"] if os.access("/dev/kvm", os.W_OK) else []) + ["tcg"]:
                if self.boot(accelerator, image_of_kernel, initrd):
                    return
            console = pathlib.Path(self.folder, "console").read_text(errors="replace").strip().splitlines()[-5:]
            raise AssertionError("the machine does not come up: " + " / ".join(console))
        except BaseException:
            self.discard()
            raise

    def boot(self, accelerator, image_of_kernel, initrd):
        self.end()
        agent, console = (pathlib.Path(self.folder, name) for name in ("agent", "console"))
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-machine", "q35", "-accel", accelerator, "-cpu", "max", "-smp", "1", "-m", str(self.memory),
                 "-kernel", image_of_kernel, "-initrd", initrd, "-append",
                 # The kernel's look at its timer fails on a machine that gets too little time of its host's.
                 "console=ttyS0 no_timer_check rdinit=/lib/systemd/systemd panic=-1 mitigations=off "
                 "systemd.getty_auto=no",
                 "-serial", f"file:{console}", "-serial", f"unix:{agent},server=on,wait=off"]
        console.write_bytes(b"")
        with open(pathlib.Path(self.folder, "qemu"), "ab") as said:
            self.qemu = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        began = time.monotonic()
        deadline = began + BOOT_TIME[accelerator]
        while self.qemu.poll() is None and time.monotonic() < deadline:
            if accelerator == "kvm" and not console.stat().st_size and (
                    time.monotonic() > began + FIRST_WORDS or self.worked() > FIRST_WORK):
                return False
            if self.line is None:
                self.connect(agent)
            elif self.answer(1) == b"ready":
                return True
            time.sleep(0.1)
        return False

    def worked(self):
        """The machine's time of the processor, in seconds."""
        fields = pathlib.Path(f"/proc/{self.qemu.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def connect(self, path):
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(os.fspath(path))
            self.line = line
        except OSError:
            line.close()

    def answer(self, patience):
        """nothing, if none comes in that time."""
        deadline = time.monotonic() + patience
        while b"\0" not in self.left:
            self.line.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                part = self.line.recv(65536)
            except TimeoutError:
                return None
            if not part:
                return None
            self.left += part
        answer, _, self.left = self.left.partition(b"\0")
        return answer

    def attempt(self, command, patience=PATIENCE):
        """Runs a command of bash: (exit status, all its output)."""
        self.line.sendall(command.replace("\\", "\\\\").replace("\n", "\\n").encode() + b"\n")
        answer = self.answer(patience)
        if answer is None:
            raise AssertionError(f"no answer in {patience} s: {command}")
        status, _, said = answer.partition(b" ")
        return int(status), said.decode("utf-8", "replace")

    def run(self, command, patience=PATIENCE):
        status, said = self.attempt(command, patience)
        if status != 0:
            raise AssertionError(f"{command}: exit status {status}: {said[-2000:]}")
        return said

    def show(self, name, unit="superd.service"):
        """A property as the manager has it."""
        return self.run(f"systemctl show --property {name} --value {unit}").rstrip("\n")

    def messages(self, since):
        """What superd has logged since a moment of time()."""
        said = self.run(f"journalctl --sync; journalctl --quiet --output json --output-fields MESSAGE "
                        f"--unit superd --since @{since}")
        return [str(json.loads(line).get("MESSAGE")) for line in said.splitlines()]

    def time(self):
        return self.run("echo $EPOCHREALTIME").strip()

    def write(self, path, text):
        self.run(writing(path, text))

    def end(self):
        if self.line is not None:
            self.line.close()
        if self.qemu is not None:
            self.qemu.kill()
            self.qemu.wait()
        self.line, self.qemu, self.left = None, None, b""

    def discard(self):
        self.end()
        if self.folder is not None:
            shutil.rmtree(self.folder)
