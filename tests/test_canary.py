"""The search for a canary goes on whatever others do beside it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import canary
from tests.canary import Canary, watched_processes
from tests.heard import until

IT = Canary("a-canary-beside-others")


def test_a_folder_removed_during_the_search_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shared memory is everybody's: tests beside this one make folders there, and remove them."""
    going = tmp_path / "going"
    going.mkdir()
    (tmp_path / "staying").mkdir()
    (tmp_path / "staying" / "file").write_text(IT.value)
    scandir = os.scandir

    def removed_before(path: str) -> object:
        if Path(path) == going:
            going.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removed_before)
    assert IT.files_below([tmp_path]) == [str(tmp_path / "staying" / "file")]
    assert not going.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"sleep\0", b""), (b"python\0", b"sleep\0"), (b"sleep\0", b"sleep\0")],
    ids=["that ends", "that becomes another program", "that stays what it is"],
)
def test_a_process_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch, before: bytes, after: bytes
) -> None:
    looks = {"cmdline": iter([before, after]), "environ": iter([f"LEAK={IT.value}".encode()])}
    monkeypatch.setattr(canary, "_bytes", lambda path: next(looks[Path(path).name], b""))
    assert canary._places_in(IT, "/proc/0") == [r"environ of b'sleep\x00'"]


def test_a_process_that_becomes_another_program_is_looked_at_again() -> None:
    shell = ["sh", "-c", "read value; LEAK=$value exec sleep 60"]
    with (
        watched_processes(IT) as seen,
        subprocess.Popen(shell, stdin=subprocess.PIPE, text=True) as process,
    ):
        until(lambda: seen.looks > 2)
        assert seen.places == set()
        assert process.stdin
        print(IT.value, file=process.stdin, flush=True)
        until(lambda: seen.places)
        process.kill()
    assert seen.places == {r"environ of b'sleep\x0060\x00'"}
