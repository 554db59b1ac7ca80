"""What containers that never ran would have said, and how a request for logs is read."""

import datetime
from typing import Any

import pytest

from sandbox.node.container_logs import NoLogs, run_of
from sandbox.node.log_server import Options, chosen, options_of, spelled

BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
STARTED = {"startedAt": "2026-01-02T03:04:05Z"}
ENDED = {**STARTED, "finishedAt": "2026-01-02T03:04:09Z", "exitCode": 1}
DONE = {**ENDED, "exitCode": 0}


def pod(state: dict[str, Any], last: dict[str, Any] | None = None, **annotations: str) -> dict[str, Any]:
    status = {"name": "main", "state": state, "lastState": {"terminated": last} if last else {}}
    marks = {f"sandbox.lookit.org/{key}": value for key, value in annotations.items()}
    return {
        "metadata": {"name": "p", "annotations": marks},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("found", "previous", "texts", "running"),
    [
        (pod({"running": STARTED}, logs="a\nb"), False, ["a", "b"], True),
        (pod({"terminated": DONE}, logs="a"), False, ["a"], False),
        (pod({"running": STARTED}, ENDED, logs="a"), True, ["a"], False),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}, ENDED, logs="a"), False, ["a"], False),
        (pod({"running": STARTED}), False, ["started"], True),
    ],
    ids=["running", "completed", "previous", "in back-off: the last run", "nobody wrote a script"],
)
def test_a_container_said(found: dict[str, Any], previous: bool, texts: list[str], running: bool) -> None:
    run = run_of(found, "main", previous=previous)

    assert [line.text for line in run.lines] == texts
    assert run.running is running
    assert run.lines[0].time == BEGAN


def test_a_failed_container_says_what_its_failure_sounds_like() -> None:
    run = run_of(pod({"terminated": ENDED}, behave="oom"), "main", previous=False)

    assert [line.text for line in run.lines] == ["started", "loading 12000 responses", "building archive"]


@pytest.mark.parametrize(
    ("found", "container", "previous", "message"),
    [
        (pod({"waiting": {"reason": "ImagePullBackOff"}}), "main", False,
         'container "main" in pod "p" is waiting to start: trying and failing to pull image'),
        (pod({"waiting": {"reason": "CreateContainerConfigError"}}), "main", False,
         'container "main" in pod "p" is waiting to start: CreateContainerConfigError'),
        (pod({"running": STARTED}), "main", True, 'previous terminated container "main" in pod "p" not found'),
        (pod({"running": STARTED}), "other", False,
         'container "other" in pod "p" is waiting to start: ContainerCreating'),
    ],
)  # fmt: skip
def test_there_are_no_logs(found: dict[str, Any], container: str, previous: bool, message: str) -> None:
    with pytest.raises(NoLogs) as refused:
        run_of(found, container, previous=previous)

    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", Options()),
        ("follow=true&timestamps=true&previous=true", Options(follow=True, timestamps=True, previous=True)),
        ("tailLines=3&limitBytes=10", Options(tail=3, limit_bytes=10)),
        ("sinceSeconds=60", Options(since=BEGAN - datetime.timedelta(seconds=60))),
        ("sinceTime=2026-01-02T03:04:05Z", Options(since=BEGAN)),
    ],
)
def test_a_request_asks_for(query: str, options: Options) -> None:
    assert options_of(query, BEGAN) == options


def test_log_lines_appear_at_their_time() -> None:
    run = run_of(pod({"running": STARTED}, logs="a\nb\nc"), "main", previous=False)
    now = BEGAN + datetime.timedelta(milliseconds=25)

    assert [line.text for line in chosen(run, Options(), now)] == ["a", "b"]
    assert [line.text for line in chosen(run, Options(tail=1), now)] == ["b"]
    assert [line.text for line in chosen(run, Options(tail=0), now)] == []
    assert [line.text for line in chosen(run, Options(since=run.lines[1].time), now)] == ["b"]
    assert spelled(run.lines[1], Options(timestamps=True)) == b"2026-01-02T03:04:05.020000000Z b\n"
