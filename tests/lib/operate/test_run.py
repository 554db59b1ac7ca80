"""One-off commands: the Job that runs them, and how each is remembered."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from tasks.lib.operate.run import LABEL, Run, as_it_is, exit_code, job_of, read

IMAGE = "gcr.io/mit-lookit/lookit"
RUN = Run("run-1", "kim@laptop", "python manage.py check", "2026-05-04T12:00:00Z")


def web() -> dict[str, Any]:
    main = {
        "name": "uwsgi", "image": f"{IMAGE}@sha256:{'a' * 64}", "command": ["uwsgi"], "args": ["--ini"],
        "ports": [{"containerPort": 8080}], "readinessProbe": {}, "livenessProbe": {}, "startupProbe": {},
        "lifecycle": {"preStop": {}}, "envFrom": [{"secretRef": {"name": "env"}}], "resources": {"limits": {}},
    }  # fmt: skip
    spec = {
        "containers": [{"name": "aside", "image": "nginx:1"}, main],
        "initContainers": [{"name": "wait", "image": "postgres:16"}],
        "serviceAccountName": "web",
        "restartPolicy": "Always",
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    return {"metadata": {"name": "staging-web", "namespace": "default"}, "spec": {"template": template}}


def test_a_run_has_webs_image_environment_and_account() -> None:
    spec = job_of(web(), ["python", "x.py"], "run-1", IMAGE)["spec"]["template"]["spec"]

    [main] = spec["containers"]
    assert main == {
        "name": "uwsgi",
        "image": f"{IMAGE}@sha256:{'a' * 64}",
        "command": ["python", "x.py"],
        "envFrom": [{"secretRef": {"name": "env"}}],
        "resources": {"limits": {}},
    }
    assert [one["name"] for one in spec["initContainers"]] == ["wait"]
    assert (spec["serviceAccountName"], spec["restartPolicy"]) == ("web", "Never")


def test_no_selector_takes_a_run_for_web() -> None:
    job = job_of(web(), ["true"], "run-1", IMAGE)

    assert job["spec"]["template"]["metadata"]["labels"] == {LABEL: "run-1"}
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


def test_the_template_of_web_stays_as_it_is() -> None:
    there = web()
    job_of(there, ["true"], "run-1", IMAGE)
    assert there == web()


@pytest.mark.parametrize(
    ("state", "code"),
    [({"terminated": {"exitCode": 3}}, 3), ({"terminated": {"exitCode": 0}}, 0), ({"running": {}}, None)],
)
def test_the_exit_code_is_the_containers(state: dict[str, Any], code: int | None) -> None:
    assert exit_code({"status": {"containerStatuses": [{"state": state}]}}) == code
    assert exit_code({}) is None


@pytest.mark.parametrize(
    ("job", "result"),
    [
        (None, "unknown: its task was killed, and its Job is gone"),
        ({"status": {"active": 1}}, "running"),
        ({"status": {"succeeded": 1, "completionTime": "2026-05-04T12:01:00Z"}}, "exit code 0"),
        ({"status": {"failed": 1}}, "failed"),
    ],
)
def test_a_run_that_nobody_waited_for_is_as_its_job(job: dict[str, Any] | None, result: str) -> None:
    assert as_it_is(RUN, job).result == result


def test_the_history_is_sorted_and_leaves_damage_out() -> None:
    later = Run("run-2", "kim", "true", "2026-05-04T13:00:00Z", "2026-05-04T13:00:01Z", "exit code 0")
    data = {one.name: json.dumps(asdict(one)) for one in (RUN, later)}

    assert read({**data, "broken": "{", "other": '{"a": 1}', "list": "[]"}) == [later, RUN]
