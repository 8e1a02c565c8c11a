# SPDX-License-Identifier: MIT
"""The image, the manifests and the portable service in a virtual machine, by Podman and systemd. tests/container/run."""

import os
import pathlib
import shutil

import yaml

from harness import TestCase, root

from vm import Vm

CONTRIB = pathlib.Path(os.environ["SUPERD_CONTRIB"])
PACKAGES = pathlib.Path(os.environ["SUPERD_CONTRIB"]).parent / "tests" / "packages"
# The machine's root is in memory, where pivot_root(2) does not work; its store needs no module.
SETTINGS = {
    "/etc/containers/containers.conf": "[engine]\nno_pivot_root = true\nruntime = \"crun\"\n",
    "/etc/containers/storage.conf": "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\n"
                                    "graphroot = \"/var/lib/containers/storage\"\n",
}
# The machine's own root, which mmdebstrap has made, without what superd does not need and with empty folders for apt.
BASE = """tar --create --directory / --exclude=./usr/bin/podman --exclude=./usr/lib/podman --exclude=./usr/libexec \\
--exclude=./usr/lib/cni --exclude=./usr/lib/systemd --exclude=./var/lib/containers --exclude=./var/lib/portables \\
--exclude=./var/lib/kubelet --exclude=./var/lib/apt/lists --exclude=./var/tmp/* ./usr ./etc ./var ./bin ./sbin ./lib ./lib64"""
ECHO = 'listen = "tcp://*:%d"\nmodel = "fork"\nexec = ["superd-echo"]\n'
ASK = "exec 3<>/dev/tcp/127.0.0.1/%d; echo hello >&3; IFS= read -r -t 60 -u 3 line; printf '%%s' \"$line\""
MAP = "/var/lib/kubelet/services"


def section(name):
    """Of tests/packages."""
    found, within = [], False
    for line in PACKAGES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            within = line.startswith(f"# {name}:")
        elif within and line:
            found.append(line)
    return tuple(found)


def bring(tree):
    shutil.copy(root.PACKAGE, tree / "superd.deb")
    for name in ("container", "portable"):
        shutil.copytree(CONTRIB / name, tree / "contrib" / name)


class Pods(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vm = Vm(section("pods"), bring, 4096)
        cls.addClassCleanup(cls.vm.discard)
        for path, text in SETTINGS.items():
            cls.vm.write(path, text)
        cls.vm.run("mkdir -p /var/lib/kubelet /context /built /var/cache/apt/archives/partial && "
                   "mount -t tmpfs tmpfs /var/lib/kubelet && "
                   f"mkdir -m 777 {MAP} && mv /superd.deb /built")
        cls.vm.run(BASE + " | podman import - docker.io/library/debian:bookworm-slim", 900)
        # The first stage, which compiles, has its result already: the package that this build has made.
        cls.vm.run("podman build --isolation chroot --pull=never --layers=false "
                   "--build-context build=/built --file /contrib/container/Containerfile "
                   "--tag localhost/superd:latest /context", 900)

    def swap(self, version, services):
        """What the kubelet does with a config map that has changed."""
        data = f"{MAP}/..2026_{version}"
        for name, text in services.items():
            self.vm.write(f"{data}/{name}", text)
        self.vm.run(f"chmod 755 {data} && ln -s ..2026_{version} {MAP}/..data_tmp && old=$(readlink {MAP}/..data || true) && "
                    f"mv -T {MAP}/..data_tmp {MAP}/..data && cd {MAP} && for name in {' '.join(services)}; do "
                    "[ -L $name ] || ln -s ..data/$name $name; done && if [ -n \"$old\" ]; then rm -r $old; fi")

    def manifests(self):
        """The shipped ones, with the image that has just been built, and a config map that changes as the kubelet's
        does, which Podman's do not."""
        text = (CONTRIB / "kubernetes" / "superd.yaml").read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
        (services,) = [one["data"] for one in documents if one["metadata"]["name"] == "superd-services"]
        (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
        pod = deployment["spec"]["template"]["spec"]
        # The machine has no module for a network of the pod's own.
        deployment["spec"]["replicas"], pod["hostNetwork"] = 1, True
        del pod["containers"][0]["ports"]
        pod["containers"][0]["image"] = "localhost/superd:latest"
        # A look takes longer than on a node, where the processor is emulated.
        pod["containers"][0]["livenessProbe"].update(periodSeconds=60, timeoutSeconds=60)
        (volume,) = [one for one in pod["volumes"] if one["name"] == "services"]
        del volume["configMap"]
        volume["hostPath"] = {"path": MAP, "type": "Directory"}
        return yaml.safe_dump_all(documents), services

    def http(self, path, port=7091):
        """The status of an answer; 0: there is none."""
        return int(self.vm.attempt(f"curl --silent --max-time 30 --output /dev/null --write-out '%{{http_code}}' "
                                   f"http://127.0.0.1:{port}{path}")[1])

    def test_a_pod(self):
        """podman kube play starts the Deployment's pod, which is ready, lives, and is confined; a change of the config map is
        put in force; TERM drains."""
        text, services = self.manifests()
        self.swap(1, services)
        self.vm.write("/superd.yaml", text)
        self.vm.run("podman kube play /superd.yaml", 300)
        name = "superd-pod-0-superd"
        try:
            self.assertIn(name, self.vm.run("podman ps --all --format '{{.Names}}'").split())
            self.eventually(lambda: self.http("/readyz") == 200, "it is ready", 120)
            self.confined(name)
            self.lives(name)
            self.changes(name, services)
            self.drains(name)
        except AssertionError as error:
            seen = self.vm.attempt(f"podman ps --all; podman logs {name}")[1]
            raise AssertionError(f"{error}\n{seen}") from error
        finally:
            self.vm.attempt("podman kube down /superd.yaml", 120)

    def confined(self, name):
        pid = self.vm.run(f"podman inspect --format '{{{{.State.Pid}}}}' {name}").strip()
        status = dict(line.split(":\t", 1) for line in self.vm.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
        self.assertEqual(status["NSpid"].split()[-1], "1")
        self.assertEqual(status["Uid"].split(), ["65532"] * 4)
        self.assertEqual((status["CapPrm"], status["CapBnd"]), ("0" * 16, "0" * 16))
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertIn("Read-only file system", self.vm.attempt(f"podman exec {name} touch /usr/x")[1])
        self.assertEqual(self.vm.run(ASK % 7007), "hello")
        self.assertIn('superd_handlers{service="echo"}', self.vm.run("curl --silent http://127.0.0.1:7090/metrics"))
        self.vm.run(f"podman exec {name} superctl status")

    def lives(self, name):
        self.assertEqual(self.http("/livez"), 200)
        test = self.vm.run(f"podman inspect --format '{{{{.Config.Healthcheck.Test}}}}' {name}")
        self.assertIn("/livez", test)
        self.vm.run(f"podman healthcheck run {name}")

    def changes(self, name, services):
        self.assertEqual(self.vm.attempt(ASK % 7009)[1].count("hello"), 0)
        self.swap(2, {**services, "more.toml": ECHO % 7009})
        self.eventually(lambda: self.vm.attempt(ASK % 7009) == (0, "hello"), "the new service answers", 60)
        self.swap(3, {**services, "more.toml": "listen = 7\n"})
        self.eventually(lambda: "reload refused" in self.vm.attempt(f"podman logs {name}")[1],
                        "what does not pass is refused", 60)
        self.assertEqual(self.vm.run(ASK % 7009), "hello")

    def drains(self, name):
        self.vm.run(f"systemd-run --quiet --unit ending podman stop --time 45 {name}")
        self.eventually(lambda: self.http("/readyz") == 503, "not ready any more", 14)
        self.assertEqual(self.vm.run(ASK % 7007), "hello")
        self.eventually(lambda: self.vm.attempt("systemctl is-active ending")[1].strip() != "active", "it has ended", 90)
        self.assertEqual(self.vm.run(f"podman inspect --format '{{{{.State.ExitCode}}}}' {name}").strip(), "0")

    def test_a_portable_service(self):
        """contrib/portable/build makes one of a minimal root; it serves the host's definitions, as root and as nobody."""
        self.vm.run(f"mkdir -p /var/lib/portables/superd && {BASE} | tar --extract --directory /var/lib/portables/superd && "
                    "bash /contrib/portable/build /built/superd.deb /var/lib/portables/superd", 900)
        self.vm.write("/etc/superd/conf.d/echo.toml", ECHO % 7011)
        for profile, is_root in (("trusted", True), ("default", False)):
            self.vm.run(f"portablectl attach --quiet --runtime --profile={profile} --now superd", 300)
            self.assertEqual(self.vm.run(ASK % 7011), "hello", profile)
            uid = self.vm.run(f"sed -n 's/^Uid:\\t//p' /proc/{self.vm.show('MainPID')}/status").split()[0]
            self.assertEqual(uid == "0", is_root)
            self.vm.run("portablectl detach --quiet --runtime --now superd", 300)
