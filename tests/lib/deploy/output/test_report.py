import json
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import events
from tasks.lib.deploy.events import (
    Began,
    Decided,
    Ended,
    Event,
    LogLine,
    Notice,
    PhaseBegan,
    Record,
    Remembered,
    Result,
    Tell,
    Told,
)
from tasks.lib.deploy.new_release import Request
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output import report
from tasks.lib.deploy.output.report import kept
from tasks.lib.deploy.plan.plan import Choices
from tasks.lib.deploy.session import masked
from tasks.lib.deploy.steps import Action, Change, Entry, Plan, Step
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.redaction import Redactor
from tasks.lib.signals import Terminated
from tests.browser import photograph, seen
from tests.builders import checked_in_settings
from tests.clock import Clock

EVIL = "<script>parent.ran.push(1)</script><img src=x onerror=parent.ran.push(2)>\"'&"
SECRET = "correct horse battery"
RELEASE = Request(
    checked_in_settings().environment("staging"),
    BuildVariables(
        commit_sha="a" * 40, branch_name="develop", tag_name=EVIL, repo_name="lookit-api", build_id="42"
    ),
    Choices(),
)


def ref(name: str, kind: str = "Deployment") -> Ref:
    return Ref("apps/v1", kind, "default", name)


def entry(name: str, *changes: Change) -> Entry:
    return Entry("workloads", "Deployment", name, "default", "change", EVIL, changes, "seal")


def told(tell: Tell, objects: int = 3, log: int = 3) -> None:
    """A deploy whose names, logs and reasons are hostile."""
    record = Record("staging", blank=lambda text: text.replace(SECRET, "[redacted]"))
    tell(Began(record))
    tell(PhaseBegan("preflight"))
    tell = masked(tell, Redactor([SECRET]))
    changes = (Change(f"data.{EVIL}", SECRET, "new"), Change("data.long", "x" * 300, None))
    tell(Decided(Plan("staging", (entry(EVIL, *changes), entry("web")))))
    names = [EVIL, *(f"staging-{'very-' * 12}long-{number}" for number in range(objects - 1))]
    for name in names:
        record.plan("workloads", [Step(Wanted(ref(name), {}), Action.CHANGE, "", {})])
    record.plan("ingress", [Step(Wanted(ref("way-in", "Ingress"), {}), Action.CREATE, "", {})])
    tell(PhaseBegan("workloads"))
    for name in names:
        record.begin(ref(name), Result.APPLYING)
        record.end(ref(name), Result.FAILED, f"{SECRET} {EVIL}")
        tell(Told(ref(name), f"{SECRET} {EVIL}"))
    for number in range(log):
        tell(LogLine(f"pod-{EVIL}", f"{number} {SECRET} {EVIL} \x1b[31m{'y' * 400}"))
    tell(Notice(f"{SECRET} {EVIL}"))
    tell(Remembered({"who": EVIL, "images": json.dumps([EVIL]), "secrets": "{}", "phases": "{}"}))
    record.aftermath.append(EVIL)
    tell(Ended(record, 12.3))


def end(fault: BaseException | None) -> None:
    if fault:
        raise fault


def write(folder: Path, fault: BaseException | None, **how: int) -> dict[str, Any]:
    """Write a report of such a deploy that ends like this; returns what deploy.json says."""
    with suppress(BaseException), kept(str(folder), RELEASE, lambda event: None) as tell:
        told(tell, **how)
        end(fault)
    content: dict[str, Any] = json.loads((folder / "deploy.json").read_text())
    return content


FAILURE = Failure(f"{EVIL} failed.", f"why {EVIL}\n{'z' * 500}", f"next {EVIL}")


@pytest.mark.parametrize(
    ("fault", "result", "code", "what"),
    [
        (None, "deployed", 0, None),
        (FAILURE, "failed", 1, f"{EVIL} failed."),
        (TimedOut("late"), "timed out", 70, "late"),
        (KeyboardInterrupt(), "interrupted", 130, "Stopped by Ctrl-C."),
        (Terminated(15), "interrupted", 143, "Stopped by SIGTERM."),
        (ValueError(SECRET), "failed", 1, "Unexpected error: ValueError."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_report_is_written_however_the_deploy_ends(
    tmp_path: Path, fault: BaseException | None, result: str, code: int, what: str | None
) -> None:
    content = write(tmp_path, fault)
    assert (content["result"], content["exit_code"]) == (result, code)
    assert (content["failure"] or {}).get("what") == what
    assert [phase["title"] for phase in content["phases"]] == ["preflight", "workloads"]
    assert len(content["objects"]) == 4
    assert content["objects"][0]["seconds"] is not None
    assert content["objects"][-1]["seconds"] is None
    assert content["release"]["commit"] == "a" * 40
    assert content["release"]["who"] == EVIL
    assert len(content["plan"]["entries"]) == 2
    assert len(content["log"]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy.html", "deploy.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_no_secret_value_and_no_markup_gets_into_either_file(tmp_path: Path) -> None:
    write(tmp_path, FAILURE)
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert SECRET not in text
        assert "[redacted]" in text
        assert "\x1b" not in text
    page = (tmp_path / "deploy.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;parent.ran.push(1)") > 10
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_deploy_without_a_plan_has_a_report(tmp_path: Path) -> None:
    with suppress(Failure), kept(str(tmp_path), RELEASE, lambda event: None) as tell:
        for event in (Began(Record("staging")), PhaseBegan("preflight"), Ended(Record("staging"), 0.1)):
            tell(event)
        end(Failure("There is no cluster."))
    content = json.loads((tmp_path / "deploy.json").read_text())
    assert (content["plan"], content["objects"]) == (None, [])
    assert content["end"] == ["Nothing was changed."]
    assert "There is no cluster." in (tmp_path / "deploy.html").read_text()


def test_only_the_last_lines_of_endless_logs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report.LOG_LINES == 5000
    monkeypatch.setattr(report, "LOG_LINES", 50)
    content = write(tmp_path, None, log=60)
    assert (len(content["log"]), content["log_lines_left_out"]) == (50, 10)
    assert content["log"][0]["line"].startswith("10 ")
    assert "10 earlier lines are left out." in (tmp_path / "deploy.html").read_text()


def test_without_a_folder_no_report_is_written(tmp_path: Path) -> None:
    heard: list[Event] = []
    with kept("", RELEASE, heard.append) as tell:
        tell(Notice("hello"))
    assert heard == [Notice("hello")]


def test_an_unwritable_report_folder_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="No report can be written"),
        kept(str(tmp_path / "file" / "in"), RELEASE, lambda event: None),
    ):
        raise AssertionError("it began")


def test_a_report_error_does_not_hide_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "report"
    with kept(str(folder), RELEASE, lambda event: None) as tell:
        told(tell)
        folder.rmdir()
        folder.touch()
    assert f"The report could not be written to {folder}" in capsys.readouterr().err


def test_unfinished_objects_last_until_their_phase_ends(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (events, report):
        monkeypatch.setattr(module, "time", clock)
    record = Record("staging")
    record.plan("jobs", [Step(Wanted(ref("job", "Job"), {}), Action.RUN, "", {})])
    with kept(str(tmp_path), RELEASE, lambda event: None) as tell:
        for event in (Began(record), PhaseBegan("jobs")):
            tell(event)
        record.begin(ref("job", "Job"), Result.APPLYING)
        record.end(ref("job", "Job"), Result.APPLIED)
        record.note(ref("job", "Job"), Result.WAITING, "running", "0/1")
        clock.sleep(2)
        tell(PhaseBegan("support bundle"))
        clock.sleep(2)
    (row,) = json.loads((tmp_path / "deploy.json").read_text())["objects"]
    assert row["seconds"] == pytest.approx(2)


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("fault", [None, FAILURE], ids=["deployed", "failed"])
def test_on_a_phone_nothing_scrolls_sideways_and_nothing_runs(
    chromium: str, tmp_path: Path, width: int, fault: Failure | None
) -> None:
    write(tmp_path, fault, objects=20)
    looked = seen(chromium, tmp_path, "deploy.html", width)
    assert looked["width"] == width
    assert looked["scrolls"] <= width
    assert looked["wide"] == 0
    assert (looked["scripts"], looked["images"], looked["ran"], looked["loaded"]) == (0, 0, [], [])
    assert (looked["phases"], looked["bars"]) == (2, 20)
    assert looked["title"] == "Deploy of staging"
    for text in ("Release", "Timeline", "Plan", "Objects", "Logs of Jobs", EVIL, "workloads", "[redacted]"):
        assert text in looked["text"]
    assert ("Diagnosis" in looked["text"]) == bool(fault)


@pytest.mark.browser
def test_a_report_fits_the_screen_of_a_phone(chromium: str, tmp_path: Path) -> None:
    write(tmp_path, FAILURE)
    picture = tmp_path / "phone.png"
    photograph(chromium, tmp_path, "deploy.html", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
