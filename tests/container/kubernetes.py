# SPDX-License-Identifier: MIT
"""A schema for the manifests in contrib/kubernetes: as the API reference (v1, apps/v1, policy/v1) describes the fields that
they use, and strict, so that a misspelt or misplaced one is an error. Not all of Kubernetes: a field that is new here is
looked up in the reference and added. And the restricted profile of the Pod Security Standards."""

NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
LABEL = {"type": "string", "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", "maxLength": 63}
PATH = {"type": "string", "pattern": "^/[^:]*$"}
COUNT = {"type": "integer", "minimum": 0}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
PORT_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 15}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$"}
WORDS = {"type": "array", "items": {"type": "string"}}


def table(values):
    return {"type": "object", "additionalProperties": values}


def thing(required="", **members):
    return {"type": "object", "properties": members, "required": required.split(), "additionalProperties": False}


def several(item):
    return {"type": "array", "items": item, "minItems": 1}


def kind(version, name, **members):
    return thing("apiVersion kind metadata " + " ".join(members), apiVersion={"const": version}, kind={"const": name},
                 metadata=thing("name", name=NAME, labels=table(LABEL), annotations=table({"type": "string"})), **members)


SELECTOR = thing("matchLabels", matchLabels=table(LABEL))
PROBE = thing("httpGet", httpGet=thing("path port", path=PATH, port={"anyOf": [PORT, PORT_NAME]}), periodSeconds=COUNT,
              timeoutSeconds=COUNT, failureThreshold=COUNT, successThreshold=COUNT, initialDelaySeconds=COUNT)
PROFILE = thing("type", type={"enum": ["RuntimeDefault", "Unconfined", "Localhost"]}, localhostProfile={"type": "string"})
CONTAINER = thing(
    "name image", name=NAME, image={"type": "string"}, imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    command=WORDS, args=WORDS, env=several(thing("name value", name={"type": "string"}, value={"type": "string"})),
    ports=several(thing("containerPort", name=PORT_NAME, containerPort=PORT, protocol={"enum": ["TCP", "UDP", "SCTP"]})),
    readinessProbe=PROBE, livenessProbe=PROBE, startupProbe=PROBE,
    resources=thing(requests=table(QUANTITY), limits=table(QUANTITY)),
    securityContext=thing(
        allowPrivilegeEscalation={"type": "boolean"}, readOnlyRootFilesystem={"type": "boolean"},
        privileged={"type": "boolean"}, runAsNonRoot={"type": "boolean"}, runAsUser=COUNT, runAsGroup=COUNT,
        capabilities=thing(add=WORDS, drop=WORDS), seccompProfile=PROFILE),
    volumeMounts=several(thing("name mountPath", name=NAME, mountPath=PATH, readOnly={"type": "boolean"},
                               subPath={"type": "string"})))
POD = thing(
    "containers", automountServiceAccountToken={"type": "boolean"}, enableServiceLinks={"type": "boolean"},
    terminationGracePeriodSeconds=COUNT, restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
    hostNetwork={"type": "boolean"}, hostPID={"type": "boolean"}, hostIPC={"type": "boolean"},
    securityContext=thing(runAsNonRoot={"type": "boolean"}, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT,
                          seccompProfile=PROFILE, supplementalGroups={"type": "array", "items": COUNT}),
    topologySpreadConstraints=several(thing(
        "maxSkew topologyKey whenUnsatisfiable", maxSkew=COUNT, topologyKey={"type": "string"}, labelSelector=SELECTOR,
        whenUnsatisfiable={"enum": ["DoNotSchedule", "ScheduleAnyway"]})),
    containers=several(CONTAINER),
    volumes=several({"oneOf": [
        thing("name configMap", name=NAME, configMap=thing("name", name=NAME, defaultMode=COUNT)),
        thing("name emptyDir", name=NAME, emptyDir=thing(medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY)),
        thing("name secret", name=NAME, secret=thing("secretName", secretName=NAME, defaultMode=COUNT))]}))
AMOUNT = {"anyOf": [COUNT, {"type": "string", "pattern": "^[0-9]+%$"}]}
SCHEMAS = {
    "ConfigMap": kind("v1", "ConfigMap", data={
        "type": "object", "propertyNames": {"pattern": r"^[-._a-zA-Z0-9]+$"}, "additionalProperties": {"type": "string"}}),
    "Deployment": kind("apps/v1", "Deployment", spec=thing(
        "selector template", replicas=COUNT, selector=SELECTOR, minReadySeconds=COUNT, revisionHistoryLimit=COUNT,
        strategy=thing("type", type={"enum": ["RollingUpdate", "Recreate"]},
                       rollingUpdate=thing(maxSurge=AMOUNT, maxUnavailable=AMOUNT)),
        template=thing("metadata spec", metadata=thing("labels", labels=table(LABEL),
                                                       annotations=table({"type": "string"})), spec=POD))),
    "Service": kind("v1", "Service", spec=thing(
        "selector ports", selector=table(LABEL), type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        ports=several(thing("port", name=PORT_NAME, port=PORT, targetPort={"anyOf": [PORT, PORT_NAME]},
                            protocol={"enum": ["TCP", "UDP", "SCTP"]})))),
    "PodDisruptionBudget": kind("policy/v1", "PodDisruptionBudget", spec=thing(
        "selector", minAvailable=AMOUNT, maxUnavailable=AMOUNT, selector=SELECTOR)),
}


def not_restricted(pod):
    """What in a pod's spec the restricted profile does not let through; its own words for each control."""
    wrong = []
    of_pod = pod.get("securityContext", {})
    wrong += [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        both = {**of_pod, **own}
        if own.get("privileged"):
            wrong.append("Privileged Containers")
        if own.get("allowPrivilegeEscalation") is not False:
            wrong.append("Privilege Escalation")
        if both.get("runAsNonRoot") is not True:
            wrong.append("Running as Non-root")
        if both.get("runAsUser") == 0:
            wrong.append("Running as Non-root user")
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            wrong.append("Seccomp")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            wrong.append("Capabilities")
    return wrong
