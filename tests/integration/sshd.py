# SPDX-License-Identifier: MIT
"""openssh's sshd -i as a handler, and an ssh that logs in there, as tests use them."""

import os
import pwd
import shutil
import subprocess

from harness import SuperdCase

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEEDED = ("sshd", "ssh", "ssh-keygen", "unshare")
MISSING = [name for name in NEEDED if shutil.which(name, path=PATH) is None]


class SshdCase(SuperdCase):  # has no tests itself
    """The user to log in as is one of the test's own, in a copy of passwd that only this superd sees."""

    UID = 61234

    def prepare_login(self):
        """A daemon whose mount namespace has the user `tester`, and its folder."""
        if os.geteuid() != 0:
            return self.prepare(), pwd.getpwuid(os.geteuid()).pw_name
        if subprocess.run(["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("mount namespaces are not available here")
        daemon = self.prepare(user=None)
        home = daemon.shared("home")
        os.chown(home, self.UID, self.UID)
        with open("/etc/passwd", encoding="utf-8") as file:
            passwd = file.read()
        daemon.write("passwd", f"{passwd}tester:x:{self.UID}:{self.UID}::{home}:/bin/sh\n")
        with open("/etc/group", encoding="utf-8") as file:
            group = file.read()
        daemon.write("group", f"{group}tester:x:{self.UID}:\n")
        with open("/etc/shadow", encoding="utf-8") as file:
            shadow = file.read()
        daemon.write("shadow", f"{shadow}tester:*:20000:0:99999:7:::\n", 0o640)
        steps = "".join(f"mount --bind {daemon.path(name)} /etc/{name} && " for name in ("passwd", "group", "shadow"))
        as_tester = self.as_user == "tester"
        switch = f"setpriv --reuid {self.UID} --regid {self.UID} --clear-groups " if as_tester else ""
        # sshd wants its folder for privilege separation, which is the distribution's to make at boot.
        daemon.prefix = ["unshare", "-m", "sh", "-c",
                         f"{steps} mkdir -p -m 0755 /run/sshd && exec {switch}\"$@\"", "sh"]
        if as_tester:
            for path in (daemon.directory, daemon.conf_dir):
                os.chown(path, self.UID, self.UID)
        return daemon, "tester"

    def sshd(self, daemon):
        """Makes the keys and the settings in the daemon's folder: the words of the handler, and keys of its service."""
        for path in (daemon.path("host_key"), daemon.path("user_key")):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        if self.as_user == "tester" and os.geteuid() == 0:
            os.chown(daemon.path("host_key"), self.UID, self.UID)
        authorized = daemon.path("authorized_keys")
        shutil.copy(daemon.path("user_key.pub"), authorized)
        os.chmod(authorized, 0o644)
        config = daemon.write("sshd_config", f"HostKey {daemon.path('host_key')}\nAuthorizedKeysFile {authorized}\n"
                              "UsePAM no\nStrictModes no\nPasswordAuthentication no\nPidFile none\nUseDNS no\n"
                              "LogLevel VERBOSE\n")
        keys = {"user": "root"} if os.geteuid() == 0 and self.as_user is None else {}
        return [shutil.which("sshd", path=PATH), "-i", "-e", "-f", config], keys

    @staticmethod
    def ssh(daemon, uri, login):
        """The words of a client."""
        return ["ssh", "-F", "/dev/null", "-p", uri.rsplit(":", 1)[1], "-i", daemon.path("user_key"),
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
                "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", f"{login}@127.0.0.1"]
