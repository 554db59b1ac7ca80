"""Which lines of which containers are shown, and in which order."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tasks.lib.cluster.api import Api
from tasks.lib.deploy.rollout.logs import follow
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import logs
from tasks.lib.operate.logs import Line, Streams, Wanted, begun
from tasks.lib.operate.screen import LogPrinter

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def line(at: str, text: str = "x", pod: str = "web-1") -> Line:
    return Line(at, pod, "main", text)


@pytest.mark.parametrize(
    ("wanted", "since"),
    [
        (Wanted([]), "2026-05-04T11:50:00.000000000Z"),
        (Wanted([], since="1.5m"), "2026-05-04T11:58:30.000000000Z"),
        (Wanted([], since="2h"), "2026-05-04T10:00:00.000000000Z"),
        (Wanted([], previous=True), ""),
    ],
)
def test_since_counts_back_from_now(wanted: Wanted, since: str) -> None:
    assert wanted.after(NOW) == since


def test_wrong_options_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--since 'yesterday' is no time"):
        Wanted([], since="yesterday").after(NOW)
    with pytest.raises(UsageError, match="no regular expression"):
        _ = Wanted([], grep="(").pattern


def test_containers_that_never_ran_have_no_log() -> None:
    status = {
        "initContainerStatuses": [{"name": "first", "state": {"terminated": {}}}],
        "containerStatuses": [
            {"name": "main", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"name": "aside", "state": {"running": {}}},
            {"name": "new", "state": {"waiting": {}}},
        ],
    }
    assert begun({"status": status}) == {"first": 0, "main": 3, "aside": 0}
    assert begun({}) == {}


class OneLog:
    """An API that has this log of each container."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines

    def lines(self, path: str, **_: Any) -> Iterator[bytes]:
        assert path.endswith("/pods/web-1/log")
        yield from self._lines


def test_what_a_kubelet_says_itself_is_a_line_of_now() -> None:
    """It has no time, and lines that come later must not count as earlier ones."""
    api = cast(
        "Api",
        OneLog(
            b"2026-05-04T11:59:59.5Z first",
            b"unable to retrieve container logs",
            b"9999-01-01T00:00:00Z last",
        ),
    )
    metadata, shown = {"namespace": "default", "name": "web-1"}, list[str]()

    seen = follow(api, metadata, "main", lambda _, text: shown.append(text), threading.Event())

    assert shown == ["first", "unable to retrieve container logs", "last"]
    assert seen.startswith("9999")


def test_lines_of_several_pods_are_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "HELD", 0)
    streams = Streams(cast("Api", None), "", lambda text: None)
    for at in ("03", "01", "02"):
        streams._arrived.put(line(at))

    assert [one.at for one in streams.due()] == ["01", "02", "03"]
    assert [*streams.due()] == []


def test_a_refused_log_ends_it() -> None:
    streams = Streams(cast("Api", None), "", lambda text: None)
    streams._arrived.put(Failure("The cluster refused."))

    with pytest.raises(Failure, match="The cluster refused"):
        [*streams.due()]


def test_pods_have_colours_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show: Any = LogPrinter(as_json=False)
    for pod in ("web-1", "web-2", "web-1"):
        show(line("01", pod=pod))

    first, second, third = capsys.readouterr().out.splitlines()
    assert first == third == "\x1b[36mweb-1 main |\x1b[0m x"
    assert second == "\x1b[33mweb-2 main |\x1b[0m x"


def test_a_pipe_gets_plain_lines_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    LogPrinter(as_json=False)(line("01"))
    LogPrinter(as_json=True)(line("01"))

    plain, data = capsys.readouterr().out.splitlines()
    assert plain == "web-1 main | x"
    assert json.loads(data) == {"at": "01", "pod": "web-1", "container": "main", "text": "x"}
