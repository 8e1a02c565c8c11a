# SPDX-License-Identifier: MIT
"""contrib/kubernetes and contrib/container, as far as they can be looked at without a cluster."""

import copy
import os
import pathlib
import re

import jsonschema
import yaml

import kubernetes
from harness import SuperdCase, TestCase

CONTRIB = pathlib.Path(os.environ["SUPERD_CONTRIB"])
SECONDS = {"ms": 0.001, "s": 1, "m": 60}


def manifests():
    return list(yaml.safe_load_all((CONTRIB / "kubernetes" / "superd.yaml").read_text(encoding="utf-8")))


def the(kind, name=None):
    (found,) = [one for one in manifests() if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    return found


def complaints(manifest):
    return [error.message for error in
            jsonschema.Draft7Validator(kubernetes.SCHEMAS[manifest["kind"]]).iter_errors(manifest)]


class Manifests(TestCase):
    def test_their_structure(self):
        """Each is what the API reference describes, and has no field that it does not know."""
        self.assertEqual([one["kind"] for one in manifests()],
                         ["ConfigMap", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget"])
        for manifest in manifests():
            self.assertEqual(complaints(manifest), [], manifest["metadata"]["name"])
        # The schema sees what is wrong.
        for break_it in (lambda spec: spec.update(replica=1), lambda spec: spec["template"]["spec"].pop("containers"),
                         lambda spec: spec["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"].pop("port"),
                         lambda spec: spec.update(replicas="2")):
            broken = copy.deepcopy(the("Deployment"))
            break_it(broken["spec"])
            self.assertNotEqual(complaints(broken), [])

    def test_they_fit_together(self):
        """Labels, names of ports, volumes and config maps are the same wherever they are meant to be."""
        deployment = the("Deployment")["spec"]
        labels, pod = deployment["template"]["metadata"]["labels"], deployment["template"]["spec"]
        (container,) = pod["containers"]
        for selector in (deployment["selector"]["matchLabels"], the("Service")["spec"]["selector"],
                         the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]):
            self.assertLessEqual(selector.items(), labels.items())
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in the("Service")["spec"]["ports"]:
            self.assertIn(port["targetPort"], ports)
        self.assertEqual({mount["name"] for mount in container["volumeMounts"]},
                         {volume["name"] for volume in pod["volumes"]})
        for volume in pod["volumes"]:
            if "configMap" in volume:
                the("ConfigMap", volume["configMap"]["name"])
        self.assertFalse([mount for mount in container["volumeMounts"] if "subPath" in mount], "would not change live")
        listens = {name.removesuffix(".toml"): int(re.search(r"^listen = \"tcp://\*:(\d+)\"$", text, re.MULTILINE)[1])
                   for name, text in the("ConfigMap", "superd-services")["data"].items()}
        self.assertEqual(listens, ports)
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": ports["status"]})
        notes = deployment["template"]["metadata"]["annotations"]
        self.assertEqual((notes["prometheus.io/port"], notes["prometheus.io/path"]), (str(ports["metrics"]), "/metrics"))

    def test_the_restricted_profile(self):
        """It is kept, and the root is read-only; what is not kept would be seen."""
        pod = the("Deployment")["spec"]["template"]["spec"]
        self.assertEqual(kubernetes.not_restricted(pod), [])
        self.assertTrue(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"])
        self.assertFalse(pod["automountServiceAccountToken"])
        for member in ("capabilities", "allowPrivilegeEscalation"):
            broken = copy.deepcopy(pod)
            del broken["containers"][0]["securityContext"][member]
            self.assertEqual(len(kubernetes.not_restricted(broken)), 1)
        for member in ("runAsNonRoot", "seccompProfile"):
            broken = copy.deepcopy(pod)
            del broken["securityContext"][member]
            self.assertEqual(len(kubernetes.not_restricted(broken)), 1)

    def test_there_is_time_to_drain(self):
        """The grace period is longer than the drain and the longest stop_timeout together; a rollout keeps all replicas."""
        deployment = the("Deployment")["spec"]
        settings = the("ConfigMap", "superd-settings")["data"]["superd.toml"]
        number, unit = re.search(r'^drain = "(\d+)(ms|s|m)"$', settings, re.MULTILINE).groups()
        drain = int(number) * SECONDS[unit]
        for text in the("ConfigMap", "superd-services")["data"].values():
            self.assertNotIn("stop_timeout", text, "10 s, where it is not set")
        self.assertGreater(deployment["template"]["spec"]["terminationGracePeriodSeconds"], drain + 10)
        probe = deployment["template"]["spec"]["containers"][0]["readinessProbe"]
        self.assertGreater(drain, probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"]))
        self.assertEqual(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertLess(the("PodDisruptionBudget")["spec"]["minAvailable"], deployment["replicas"])

    def test_the_image(self):
        """The user of the image is the pod's; the entry point gets the pod's arguments; nothing is from elsewhere."""
        text = re.sub(r"(?m)^#.*\n", "", (CONTRIB / "container" / "Containerfile").read_text(encoding="utf-8"))
        pod = the("Deployment")["spec"]["template"]["spec"]
        user = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE).groups()
        self.assertEqual(tuple(map(int, user)),
                         (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]))
        self.assertIn('\nENTRYPOINT ["superd"]\n', text)
        self.assertEqual(set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)), {"debian:bookworm-slim"})
        self.assertNotRegex(text, r"curl |wget |https?://|pip ")


class Definitions(SuperdCase):
    def test_they_pass(self):
        """superd accepts the settings and services of the config maps."""
        daemon = self.prepare(config=the("ConfigMap", "superd-settings")["data"]["superd.toml"])
        for name, text in the("ConfigMap", "superd-services")["data"].items():
            daemon.write("conf.d/" + name, text)
        self.assertEqual(daemon.check(), (0, "3 services, no errors\n"))
