import pytest

from tasks.lib.deploy.events import Began, Ended, LogLine, Notice, PhaseBegan, Record, Told
from tasks.lib.deploy.objects import Ref
from tasks.lib.deploy.output.display import Lines, in_place, logged, shown

WEB = Ref("apps/v1", "Deployment", "default", "web")
JOB = Ref("batch/v1", "Job", "default", "migration")


class Heard:
    """Lines with a clock that tests set."""

    def __init__(self) -> None:
        self.now, self.said = 0.0, list[str]()
        self.lines = Lines(self.said.append, lambda: self.now)

    def at(self, second: float, *texts: str, ref: Ref = WEB) -> None:
        self.now = second
        for text in texts:
            self.lines(Told(ref, text))
        self.lines.say_due()


def test_every_kind_of_event_is_one_line() -> None:
    heard = Heard()
    for event in (
        Began(Record("staging")), PhaseBegan("jobs"), Told(JOB, "running"), LogLine("pod-1", "OK"), Notice("done"),
    ):  # fmt: skip
        heard.lines(event)
    assert heard.said == ["==> jobs", "  Job migration: running", "  pod-1 | OK", "  done"]


def test_each_object_prints_at_most_once_a_second() -> None:
    heard = Heard()
    heard.at(0.0, "created", "0 of 1 available")
    heard.at(0.5, "0 of 1 available; pulling")
    heard.at(0.6, "other", ref=JOB)
    assert heard.said == ["  Deployment web: created", "  Job migration: other"]
    heard.at(1.0)
    heard.at(1.9, "1/1")
    heard.at(2.0)
    assert heard.said[2:] == ["  Deployment web: 0 of 1 available; pulling", "  Deployment web: 1/1"]


def test_the_second_starts_after_a_line_is_printed() -> None:
    heard, wrote_at = Heard(), list[float]()

    def say(_line: str) -> None:
        heard.now += 0.5
        wrote_at.append(heard.now)

    heard.lines = Lines(say, lambda: heard.now)
    heard.at(0.0, "created", "0 of 1 available")
    heard.at(1.0)
    heard.at(1.5)

    assert wrote_at == [0.5, 2.0]


def test_the_end_is_the_summary() -> None:
    heard = Heard()
    heard.lines(Ended(Record("staging"), 1))
    assert heard.said == ["  Nothing was changed in the cluster."]


@pytest.mark.parametrize("then", [PhaseBegan("ingress"), Notice("the summary")])
def test_held_back_lines_are_printed_before_later_ones(then: PhaseBegan | Notice) -> None:
    heard = Heard()
    heard.at(0, "created", "1/1")
    heard.at(0, "started", "complete", ref=JOB)
    heard.lines(then)
    assert heard.said[2] == "  latest: Deployment web 1/1; Job migration complete"
    heard.at(1)
    assert len(heard.said) == 4


def test_many_held_objects_are_counted() -> None:
    heard = Heard()
    for number in range(50):
        heard.at(0, "created", "1/1", ref=Ref("apps/v1", "Deployment", "default", f"web-{number}"))
    heard.lines(PhaseBegan("next"))
    assert heard.said[50].endswith("; Deployment web-7 1/1; and 42 more")


@pytest.mark.parametrize(
    ("terminal", "variables", "expected"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (False, {"TERM": "xterm-256color"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "CI": "true"}, False),
        (True, {"TERM": "xterm", "CI": "false"}, True),
    ],
)
def test_a_live_table_needs_a_capable_terminal(
    terminal: bool, variables: dict[str, str], expected: bool
) -> None:
    assert in_place(terminal=terminal, variables=variables) is expected


def test_a_very_long_line_is_shortened() -> None:
    assert logged(LogLine("pod", "x" * 3000)) == f"  pod | {'x' * 2000} … and 1000 characters more"


def test_in_a_pipe_events_are_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as tell:
        tell(PhaseBegan("jobs"))
        tell(Told(JOB, "running"))
    assert capsys.readouterr() == ("", "==> jobs\n  Job migration: running\n")
