import base64
import datetime
import json
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import kubernetes_yaml
from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.recovery.support_bundle import (
    Found,
    as_lines,
    collect,
    folder_name,
    owned,
    redacted,
    unwell,
    write,
)
from tasks.lib.deploy.rollout.logs import _follow, events_about, last_lines
from tasks.lib.deploy.rollout.watch import Inbox
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor
from tests.lib.cluster.scripted import Answer, scripted

PASSWORD = "correct horse battery"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"dsn={PASSWORD}@db",
        f"-----BEGIN\n{PASSWORD} 2",
        f'{{"key": "{PASSWORD}"}}',
        f"data: {ENCODED}",
        "one line of a key file that is long",
        'a \\"quoted\\" value',
    ],
)
def test_a_value_is_blanked_out_in_every_form(tmp_path: Path, text: str) -> None:
    values = [PASSWORD, "one line of a key file that is long", 'a "quoted" value']
    write(tmp_path / "bundle", Found({"logs/web.log": text}), {"why": text}, Redactor(values))
    written = [path.read_text() for path in (tmp_path / "bundle").rglob("*.*") if path.is_file()]
    assert len(written) == 2
    assert all("[redacted]" in one for one in written)
    assert not any(form in one for one in written for form in (*values, ENCODED))


def test_values_that_yaml_escapes_are_redacted(tmp_path: Path) -> None:
    value = "words " * 40 + 'and a "quote"\tand a tab'
    thing = {"kind": "Pod", "metadata": {}, "spec": {"args": ["--key", f"it is {value}"]}}
    write(tmp_path / "bundle", Found({"pods/web.yaml": thing}), {}, Redactor([value]))
    assert (tmp_path / "bundle" / "pods/web.yaml").read_text().endswith("- it is [redacted]\n")


@pytest.mark.parametrize("name", ["logs/{}.previous.log", "objects/{}.yaml", "pods/{}-ü.yaml"])
def test_long_file_names_are_cut_and_stay_unique(tmp_path: Path, name: str) -> None:
    names = [name.format("a" * 320 + end) for end in ("b", "c")]

    write(tmp_path / "bundle", Found(dict.fromkeys(names, "seen")), {}, Redactor())

    kept = [
        path for path in (tmp_path / "bundle").rglob("*") if path.is_file() and path.read_bytes() == b"seen\n"
    ]
    assert len(kept) == 2
    folder, _, file = name.partition("/")
    assert {path.parent.name for path in kept} == {folder}
    assert all(path.name.startswith("aaa") for path in kept)
    assert {path.suffix for path in kept} == {f".{file.rpartition('.')[2]}"}


def test_objects_of_one_name_in_two_namespaces_are_both_kept(tmp_path: Path) -> None:
    refs = [Ref("v1", "ConfigMap", namespace, "web") for namespace in ("default", "other")]
    kinds = {("v1", "ConfigMap"): Kind("v1", "ConfigMap", "configmaps", namespaced=True)}
    steps = [Step(Wanted(ref, {}), Action.CHANGE, "", {}) for ref in refs]
    answer = {
        "kind": "ConfigMap",
        "metadata": {"resourceVersion": "1", "name": "web", "uid": "1"},
        "items": [],
    }
    with scripted(tmp_path) as server:
        server.answers = [Answer(body=json.dumps(answer).encode())]

        found = collect(server.api(), kinds, "default", steps, {})

    kept = [name for name in found.files if name.startswith("objects/")]
    assert kept == ["objects/ConfigMap-web.yaml", "objects/other.ConfigMap-web.yaml"]


def test_what_could_not_be_read_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "bundle", Found({}, ["pods: no"]), {}, Redactor())
    assert (tmp_path / "bundle" / "missing.txt").read_text() == "pods: no\n"


def without_token() -> Api:
    def token() -> str:
        raise Failure("Google's token service does not answer.", "timed out")

    return Api(Endpoint("https://127.0.0.1:9"), token, Patience(1, 1))


POD: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "1"}}


def test_without_a_token_what_failed_stays_the_news() -> None:
    ref = Ref("v1", "ConfigMap", "default", "c")
    kinds = {("v1", "ConfigMap"): Kind("v1", "ConfigMap", "configmaps", namespaced=True)}
    step = Step(Wanted(ref, {}), Action.CHANGE, "", {})

    found = collect(without_token(), kinds, "default", [step], {("migration-x", "main"): ["one", "two"]})

    assert found.files == {"logs/migration-x-main.log": "one\ntwo"}
    assert found.missing == ["the rest: Google's token service does not answer. timed out"]
    assert last_lines(without_token(), POD, "c") == []
    assert events_about(without_token(), [POD]) == []


def test_following_a_log_ends_in_silence_where_no_token_comes() -> None:
    inbox: Inbox = queue.SimpleQueue()
    _follow(without_token(), POD["metadata"], "c", inbox, threading.Event())
    assert inbox.empty()


def test_a_secret_is_shown_by_its_keys_only() -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"data": {{"password": "{ENCODED}"}}}}'}
    secret = {
        "kind": "Secret",
        "metadata": {"name": "env", "annotations": notes, "managedFields": [{}]},
        "data": {"password": ENCODED},
    }
    said = kubernetes_yaml.dump(redacted(secret))
    assert "password: '[redacted]'" in said
    assert ENCODED not in said
    assert "managedFields" not in said


def status(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "state": {"running": {}}, **more}


@pytest.mark.parametrize(
    ("one", "logs"),
    [
        (status("a", ready=True), []),
        (status("a"), [("a", False)]),
        (status("a", lastState={"terminated": {"exitCode": 1}}), [("a", True)]),
        (status("a", state={"terminated": {"exitCode": 0}}), []),
        (status("a", state={"terminated": {"exitCode": 2}}), [("a", False)]),
    ],
    ids=["well", "not ready", "crashed before", "ended well", "ended badly"],
)
def test_logs_are_kept_of_containers_that_are_not_well(
    one: dict[str, Any], logs: list[tuple[str, bool]]
) -> None:
    assert unwell({"status": {"containerStatuses": [one]}}) == logs
    assert unwell({"status": {"initContainerStatuses": [one]}}) == logs


def thing(uid: str, *owners: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "ownerReferences": [{"uid": owner} for owner in owners]}}


def test_pods_are_found_through_their_replica_set() -> None:
    sets = [thing("rs", "web"), thing("other-rs", "other")]
    pods = [thing("one", "rs"), thing("two", "job"), thing("three", "other-rs"), thing("four")]
    assert owned(pods, sets, {"web", "job"}) == pods[:2]


def test_events_are_in_the_order_of_time() -> None:
    def event(reason: str, moment: str) -> dict[str, Any]:
        about = {"kind": "Pod", "name": "web"}
        return {
            "metadata": {},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "eventTime": moment,
        }

    said = as_lines([event("Second", "2026-01-02T00:00:00.5Z"), event("First", "2026-01-01T00:00:00Z")])
    assert said.splitlines() == [
        "2026-01-01T00:00:00Z Warning Pod/web First: ",
        "2026-01-02T00:00:00Z Warning Pod/web Second: ",
    ]


def test_bundles_sort_by_time() -> None:
    moment = datetime.datetime(2026, 1, 31, 23, 59, 59, 123456, datetime.UTC)
    assert folder_name("staging", "0123abcdef", moment) == "staging-20260131T235959.123Z-0123abc"
