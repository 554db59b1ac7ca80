"""People read stderr, programs read stdout."""

import pytest

from tasks.lib import console


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
