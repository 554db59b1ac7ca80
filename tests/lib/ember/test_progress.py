"""How far an upload is."""

import threading
import time

import pytest

from tasks.lib.console import console
from tasks.lib.ember import progress
from tasks.lib.ember.progress import Progress, size
from tests.clock import Clock


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_sizes_are_in_the_unit_that_fits(count: int, shown: str) -> None:
    assert size(count) == shown


def test_a_line_tells_files_bytes_rate_and_time_left() -> None:
    shown = Progress()
    shown.expect(4, 4096)
    shown.done(1024)
    assert shown.line(2.0) == "uploading: 1 of 4 files, 1.0 KiB of 4.0 KiB, 512 B/s, 6.0 s left"


def test_a_log_gets_a_line_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    monkeypatch.setattr(progress, "time", clock)
    # The thread that tells when nothing gets on would come between a second's end and the file that is done then.
    monkeypatch.setattr(Progress, "_tell_in_time", lambda _: None)
    with Progress() as shown:
        shown.expect(40, 4000)
        for _ in range(40):
            clock.sleep(1)
            shown.done(100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("uploading: 10 of 40 files, 1000 B of 3.9 KiB, 100 B/s")


def test_progress_counts_bytes_of_a_large_file_while_sending() -> None:
    shown = Progress()
    shown.expect(2, 4096)
    shown.moved(1024)
    assert shown.line(1.0) == "uploading: 0 of 2 files, 1.0 KiB of 4.0 KiB, 1.0 KiB/s, 3.0 s left"
    shown.done(1024)
    assert shown.line(2.0) == "uploading: 1 of 2 files, 2.0 KiB of 4.0 KiB, 1.0 KiB/s, 2.0 s left"


def test_before_anything_moves_the_time_left_is_not_known() -> None:
    shown = Progress()
    assert shown.line(5.0) == "uploading: reading the archive"
    shown.expect(2, 4096)
    assert shown.line(5.0) == "uploading: 0 of 2 files, 0 B of 4.0 KiB, 0 B/s, unknown time left"


def test_a_log_gets_lines_although_nothing_gets_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = threading.Semaphore(0)
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        lines.release()

    monkeypatch.setattr("tasks.lib.ember.progress.say", say)
    monkeypatch.setattr("tasks.lib.ember.progress.SECONDS_BETWEEN_LINES", 0.01)
    with Progress() as shown:
        assert lines.acquire(timeout=60)
        shown.expect(1, 100)
        while told[-1] == "uploading: reading the archive":
            assert lines.acquire(timeout=60)
    assert told[0] == "uploading: reading the archive"
    assert told[-1] == "uploading: 0 of 1 files, 0 B of 100 B, 0 B/s, unknown time left"
    assert capsys.readouterr().err == ""


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    at_a_terminal(monkeypatch)
    monkeypatch.setattr("tasks.lib.ember.progress.SECONDS_BEFORE_BAR", 0)
    with Progress() as shown:
        shown.expect(2, 10)
        for _ in range(60_000):
            if shown._bar is not None:
                break
            time.sleep(0.001)
        assert shown._bar is not None
        shown.done(5)
        assert shown._bar.tasks[0].completed == 5
    assert "uploading" in capsys.readouterr().err


def test_short_upload_draws_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_a_terminal(monkeypatch)
    monkeypatch.setattr("tasks.lib.ember.progress.SECONDS_BEFORE_BAR", 600)
    with Progress() as shown:
        shown.expect(2, 10)
        shown.done(10)
    assert shown._bar is None
    assert capsys.readouterr().err == ""


def test_upload_ending_early_shows_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tasks.lib.ember.progress.SECONDS_BEFORE_BAR", 0)
    at_a_terminal(monkeypatch)
    made = threading.Event()
    shown = Progress()

    def slowly() -> object:
        made.set()
        assert shown._ended.wait(60)
        return console()

    monkeypatch.setattr("tasks.lib.ember.progress.console", slowly)
    shown.__enter__()
    assert made.wait(60)
    shown.__exit__(None, None, None)
    assert capsys.readouterr().err == ""
