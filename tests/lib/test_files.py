"""Files are whole or not there at all."""

import os
import subprocess
from pathlib import Path

import pytest

from tasks.lib import files


def test_writes_content_and_mode_and_makes_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.env"

    files.write_atomically(target, b"KEY=value\n")

    assert target.read_bytes() == b"KEY=value\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["b.env"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.env"
    target.write_bytes(b"old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(target, b"new")

    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b.env"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "b.env"
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".b.env.{dead.pid}-x1_y"
    others = [
        target,
        tmp_path / f".b.env.{os.getpid()}-x1_y",
        tmp_path / f".other.env.{dead.pid}-x1_y",
        tmp_path / f".b.env.enc.{dead.pid}-x1_y",
        tmp_path / ".b.env.swp",
    ]
    for path in (left, *others):
        path.write_bytes(b"x")

    files.remove_leftovers(target)

    assert set(tmp_path.iterdir()) == set(others)


def test_a_writer_names_itself_in_its_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    replace = os.replace

    def noted(source: str, target: Path) -> None:
        seen.append(Path(source).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    files.write_atomically(tmp_path / "b.env", b"x")
    assert seen[0].startswith(f".b.env.{os.getpid()}-")
