"""Deploying a test's corner of the sandbox, and looking at what is there then."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.cloud import sql
from tasks.lib import workspace
from tests.heard import LONGEST, until
from tests.program import Ended
from tests.sandbox_case import Case

COMMIT_A = "a" * 40
COMMIT_B = "b" * 40
PATHS = {
    "/api/v1": ("services", "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims"),
    "/apis/apps/v1": ("deployments", "statefulsets", "replicasets", "controllerrevisions"),
    "/apis/batch/v1": ("jobs", "cronjobs"),
    "/apis/networking.k8s.io/v1": ("ingresses",),
    "/apis/rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
}
KINDS = (
    "deployments", "statefulsets", "jobs", "services", "configmaps", "secrets", "ingresses", "serviceaccounts",
    "roles", "rolebindings",
)  # fmt: skip
# What gives objects the image and the labels of a release.
RELEASE = {"components": ["../../components/release"]}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "new-service"},
    "spec": {"ports": [{"port": 80}]},
}
EXTRA = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "extra"},
    "spec": {
        "selector": {"matchLabels": {"app": "extra"}},
        "template": {
            "metadata": {"labels": {"app": "extra"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "busybox:1.37",
                        "envFrom": [{"configMapRef": {"name": "extra-conf"}}],
                    }
                ]
            },
        },
    },
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "password"},
    "type": "Opaque",
    "stringData": {"password": "correct-horse-battery-staple"},
}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra-conf"}, "data": {"a": "b"}}
CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly"},
    "spec": {
        "schedule": "0 0 1 1 *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "busybox:1.37"}],
                    }
                }
            }
        },
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "new-claim"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def widgets(group: str, *fields: str) -> dict[str, Any]:
    """The definition of the kind Widget, which has these fields and no others."""
    spec = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [version],
        },
    }


def widget(group: str, **fields: str) -> dict[str, Any]:
    """An object of that kind."""
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": fields}


def words(commit: str = COMMIT_A) -> tuple[str, ...]:
    """The command line of a deploy."""
    return ("deploy", "--branch", "develop", "--commit", commit)


def deploy(case: Case, *options: str, commit: str = COMMIT_A, **variables: str) -> Ended:
    """Deploy, however it ends."""
    return case.invoke(*words(commit), *options, **variables)


def deployed(case: Case, *options: str, commit: str = COMMIT_A, **variables: str) -> str:
    """Deploy, check that it went well, and return what it said."""
    done = deploy(case, *options, commit=commit, **variables)
    assert done.code == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def objects(case: Case, *plurals: str) -> dict[str, dict[str, Any]]:
    """What there is of these kinds, by default of those that are deployed: `Kind/name` → object, without prefix."""
    found: dict[str, dict[str, Any]] = {}
    for plural in plurals or KINDS:
        listed = case.api.get(f"{_group(plural)}/namespaces/{case.name}/{plural}") or {}
        kind = listed["kind"].removesuffix("List")
        for thing in listed["items"]:
            found[f"{kind}/{thing['metadata']['name'].removeprefix(f'{case.name}-')}"] = thing
    return found


def _group(plural: str) -> str:
    return next(group for group, plurals in PATHS.items() if plural in plurals)


def as_meant(thing: dict[str, Any]) -> dict[str, Any]:
    """An object and who manages it, but for its state, which controllers write in their own time."""
    metadata = {name: value for name, value in thing["metadata"].items() if name != "resourceVersion"}
    managers = [one for one in metadata.pop("managedFields", []) if one.get("subresource") != "status"]
    rest = {name: value for name, value in thing.items() if name not in {"metadata", "status"}}
    return {**rest, "metadata": metadata, "managers": managers}


def all_as_meant(case: Case) -> dict[str, dict[str, Any]]:
    """The same for everything that is deployed."""
    return {name: as_meant(thing) for name, thing in objects(case).items()}


def containers(case: Case) -> dict[str, dict[str, Any]]:
    """The containers of the Deployment web, in their order."""
    spec = objects(case, "deployments")["Deployment/web"]["spec"]["template"]["spec"]
    return {container["name"]: container for container in spec["containers"]}


def image(case: Case) -> str:
    """Which image the Deployment web runs."""
    found: str = containers(case)["uwsgi"]["image"]
    return found


def releases(case: Case) -> list[dict[str, Any]]:
    """What is kept of the releases, the newest first."""
    listed: list[dict[str, Any]] = json.loads(
        case.invoke("release.list", "--environment", "staging", "--json").stdout
    )
    return listed


def results(case: Case) -> list[str]:
    """How the releases ended, the newest first."""
    return [
        f"{one['result']}{' to ' + one['rolled_back_to'] if 'rolled_back_to' in one else ''}"
        for one in releases(case)
    ]


def backups(case: Case) -> list[dict[str, Any]]:
    """The backups of the case's database, the newest first."""
    items = sql.list_runs(case.sandbox.state.google, "mit-lookit", case.name).body["items"]
    return list(items)


def secret_values(case: Case) -> list[str]:
    """The values that were encrypted for the case, but for open ones, and some too short to be looked for."""
    secrets = [one for one in objects(case, "secrets").values() if one["type"] == "Opaque"]
    pairs = [pair for one in secrets for pair in (one.get("data") or {}).items()]
    is_open = case.settings.guard.open_keys
    values = [base64.b64decode(value).decode() for key, value in pairs if key not in is_open]
    assert values
    return [value for value in values if len(value) >= 6]


def a_secret_value(case: Case) -> str:
    """One of them, of one line."""
    return next(value for value in secret_values(case) if len(value) > 12 and "\n" not in value)


def workload(name: str, behaviour: str = "", kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    """A Deployment or StatefulSet of one pod that behaves like that, for `Case.hold_only`."""
    labels = {"app": name}
    notes = {"sandbox.lookit.org/behave": behaviour}
    pod = {"containers": [{"name": "main", "image": "busybox:1.37"}]}
    template = {"metadata": {"labels": labels, "annotations": notes}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def web(behaviour: str = "", **spec: Any) -> dict[str, Any]:
    """The Deployment web with the image of a release, for `Case.hold_only` with RELEASE."""
    made = workload("web", behaviour, **spec)
    made["spec"]["template"]["spec"]["containers"] = [{"name": "uwsgi", "image": "lookit"}]
    return made


def job(name: str = "migration", behaviour: str = "", **spec: Any) -> dict[str, Any]:
    """A Job of one pod that behaves like that, and is not tried again, for `Case.hold_only`.

    With RELEASE, each commit has an image of its own, so the Job runs again.
    """
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "lookit"}]}
    template = {"metadata": {"annotations": {"sandbox.lookit.org/behave": behaviour}}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def in_every_phase(web: Mapping[str, Any] | None = None) -> list[Mapping[str, Any]]:
    """A small site with something for each phase of a deploy, for `Case.hold_only`; `web` instead of a healthy one."""
    backend = {"service": {"name": "site", "port": {"number": 80}}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "way-in"},
        "spec": {"defaultBackend": backend},
    }
    site = {**SERVICE, "metadata": {"name": "site"}}
    queue = workload("lookit-rabbitmq", kind="StatefulSet")
    return [SECRET, site, queue, job(), web or workload("web"), ingress]


def slowly(case: Case, kind: str, name: str, seconds: int) -> None:
    """Change the tree: a workload's pods are ready so many seconds after they started."""
    notes = {"sandbox.lookit.org/ready-after": f"{seconds}s"}
    case.patch(kind, name, {"spec": {"template": {"metadata": {"annotations": notes}}}})


def allow_pods(case: Case, most: int) -> str:
    """Give the namespace a quota of pods; returns its path once it is in force."""
    metadata, spec = {"name": "few"}, {"hard": {"pods": str(most)}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
    case.api.create(f"{case.path}/resourcequotas", quota)
    path = f"{case.path}/resourcequotas/few"
    until(lambda: (case.api.get(path) or {})["status"].get("used"))  # until it was counted, it bounds nothing
    return path


def interrupt(number: int) -> None:
    """Send a signal to the task that runs in this process."""
    os.kill(os.getpid(), number)


def make_ready(case: Case, app: str) -> None:
    """Let the probes of pods with this label pass that behave as `never-ready`, once these run."""
    pods = f"{case.path}/pods?labelSelector=app={app}"

    def running() -> list[dict[str, Any]]:
        found = (case.api.get(pods) or {})["items"]
        return [pod for pod in found if pod["status"]["phase"] == "Running"]

    for pod in until(running):
        ready = [{"type": kind, "status": "True"} for kind in ("ContainersReady", "Ready")]
        case.api.patch(
            f"{case.path}/pods/{pod['metadata']['name']}/status", {"status": {"conditions": ready}}
        )


def unlock(case: Case) -> None:
    """Give up the lock of a deploy that was killed, without waiting until its time is over."""
    done = case.invoke(
        "release.unlock", "--environment", "staging", "--by", "a test", "--reason", "it was killed"
    )
    assert done.code == 0, done.stderr


def plaintext_of(process: int) -> list[Path]:
    """What a process has left in memory's file system."""
    return list(workspace.memory_folder().glob(f"{workspace.PREFIX}{process}-*"))


def may(case: Case, email: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the cluster lets somebody do something: roles take effect a moment after they were made."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": email, "resourceAttributes": attributes},
    }
    url = f"{case.api.url}/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = case.api.session.post(url, json=review, timeout=LONGEST)
    answer.raise_for_status()
    return bool(answer.json()["status"]["allowed"])
