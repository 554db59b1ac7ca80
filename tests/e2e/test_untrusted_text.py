"""What anybody who may write to the namespace wrote there commands no terminal, as people meet it."""

import datetime
import json

import pytest

from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e

# A title, the clipboard, a cleared screen, markup, another row or line, turned text, and a title left open.
HOSTILE = "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x1b\\\x1b[2J[/foo]x\n99\u202e\x1b]0;open"
HARMLESS = "[/foo]x 99"
COMMANDS = set("\x1b\x07\u202e\r")
NAMES = ("branch", "tag", "build", "who", "result")


def keep_release(case: Case) -> None:
    """A release as history keeps them, with facts of somebody's choosing."""
    facts = {**dict.fromkeys(NAMES, HOSTILE), "commit": HOSTILE, "began": HOSTILE, "seconds": "1"}
    images = {"images": json.dumps([HOSTILE]), "phases": json.dumps({HOSTILE: 1}), "secrets": "[]"}
    labels = {"lookit-orchestrator/release": "1"}
    metadata = {"name": "lookit-orchestrator-release-1", "namespace": case.name, "labels": labels}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {**facts, **images}}
    case.api.create(
        f"{case.path}/configmaps", {**body, "binaryData": {"objects": "H4sIAAAAAAACA4uOBQApu0wNAgAAAA=="}}
    )


def hold_lock(case: Case) -> None:
    """The Lease of a deploy whose holder called itself something of that kind."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    notes = {f"lookit-orchestrator/{name}": HOSTILE for name in ("branch", "commit", "build")}
    metadata = {"name": "lookit-orchestrator", "namespace": case.name, "annotations": notes}
    spec = {"holderIdentity": HOSTILE, "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    case.api.create(f"/apis/coordination.k8s.io/v1/namespaces/{case.name}/leases", lease)


def test_releases_and_locks_of_others_are_told_and_command_nothing(environment: Case) -> None:
    keep_release(environment)
    hold_lock(environment)
    for task, code in (
        ("release.list", 0),
        ("release.show", 0),
        ("deploy --branch develop --no-wait", 1),
        ("release.unlock --by me --reason dead", 0),
    ):
        words = task.split() if "--branch" in task else [*task.split(), "--environment", "staging"]
        done = environment.invoke(*words)
        assert done.returncode == code, (task, done.stderr)
        assert not COMMANDS & set(done.stdout + done.stderr), task
        assert HARMLESS in done.stderr, (task, done.stderr)
        assert not [line for line in done.stderr.splitlines() if line.lstrip("│ ").startswith("99")]
        assert "Traceback" not in done.stderr
