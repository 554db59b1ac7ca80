"""People read stderr, programs read stdout."""

import pytest

from tasks.lib import console

COLUMNS = ("release", "began", "", "who", "tag")
ROWS = [
    ("12", "2026-11-25T22:16:04Z", "[green]ok[/green]", "deployer@mit-lookit.example.org", ""),
    ("11", "2026-11-24T08:00:00Z", "[red]failed[/red]\nagain", "somebody", "v1.2"),
]


def test_data_goes_to_stdout_ended_by_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit("a: 1")
    console.emit("b: 2\n")

    assert capsys.readouterr() == ("a: 1\nb: 2\n", "")


def test_words_headings_and_tables_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("hello")
    console.heading("Phase")
    console.table(("name",), [["[green]ok[/green]"]], title="Results")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:3] == ["hello", "==> Phase", "Results"]
    assert "│ ok" in err
    assert "\x1b" not in err


@pytest.fixture
def forty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of forty columns."""
    from rich.console import Console

    monkeypatch.setattr(
        console, "console", lambda: Console(stderr=True, highlight=False, soft_wrap=True, width=40)
    )


@pytest.mark.usefixtures("forty")
def test_a_table_that_a_narrow_terminal_has_no_room_for_is_told_row_by_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.table(COLUMNS, ROWS, title="Releases")

    assert capsys.readouterr().err.splitlines() == [
        "Releases",
        "release 12",
        "  began: 2026-11-25T22:16:04Z",
        "  ok",
        "  who: deployer@mit-lookit.example.org",
        "release 11",
        "  began: 2026-11-24T08:00:00Z",
        "  failed",
        "    again",
        "  who: somebody",
        "  tag: v1.2",
    ]


@pytest.mark.usefixtures("forty")
def test_a_table_that_fits_a_narrow_terminal_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(COLUMNS[:2], [row[:2] for row in ROWS])

    assert "│ 12      │ 2026-11-25T22:16:04Z │" in capsys.readouterr().err
