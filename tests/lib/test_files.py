"""Files are whole or not there at all."""

import fcntl
import os
import signal
import tempfile
from errno import EACCES, EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import files
from tasks.lib.signals import Terminated, unwinding


def test_writes_content_and_mode_and_makes_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.env"

    files.write_atomically(target, b"KEY=value\n")

    assert target.read_bytes() == b"KEY=value\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["b.env"]


def test_nothing_is_written_after_a_signal(tmp_path: Path) -> None:
    def work() -> None:
        with unwinding():
            os.kill(os.getpid(), signal.SIGTERM)
            files.write_atomically(tmp_path / "a", b"new")

    with pytest.raises(Terminated):
        work()
    assert not list(tmp_path.iterdir())


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


def test_only_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "b.env"
    left = tmp_path / f".b.env.{os.getpid()}-x1_y"  # whatever process has that number now
    held = tmp_path / ".b.env.999999999-x1_y"
    others = [
        target,
        held,
        tmp_path / ".other.env.999999999-x1_y",
        tmp_path / ".b.env.enc.999999999-x1_y",
        tmp_path / ".b.env.swp",
    ]
    for path in (left, *others):
        path.write_bytes(b"x")

    with held.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        files.remove_leftovers(target)

    assert set(tmp_path.iterdir()) == set(others)


def test_a_temporary_file_removed_before_its_lock_is_recreated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    make = tempfile.mkstemp

    def removed_at_once(**options: Any) -> tuple[int, str]:
        descriptor, name = make(**options)
        if not removed:
            removed.append(name)
            Path(name).unlink()
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", removed_at_once)
    files.write_atomically(tmp_path / "b.env", b"x")

    assert removed
    assert (tmp_path / "b.env").read_bytes() == b"x"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_and_folders_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "build" / "reports" / "plan.html"
    before = os.umask(umask)
    try:
        files.write_atomically(path, b"x")
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}


def test_a_temporary_file_has_the_process_number_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    replace = os.replace

    def noted(source: str, target: Path) -> None:
        seen.append(Path(source).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    files.write_atomically(tmp_path / "b.env", b"x")
    assert seen[0].startswith(f".b.env.{os.getpid()}-")


def test_a_path_in_a_command_is_quoted() -> None:
    found = files.refusal(OSError(EACCES, "no", "/my lab's/b"))

    assert found is not None
    assert found.next_step == """Look at its owner and mode: ls -ld '/my lab'"'"'s/b'"""


@pytest.mark.parametrize(
    ("number", "what", "next_step"),
    [
        (
            ENOSPC,
            "/a/b cannot be written.",
            "Free some space (`df -h` shows where), and run the same command again.",
        ),
        (EACCES, "/a/b cannot be used.", "Look at its owner and mode: ls -ld /a/b"),
        (EROFS, "/a/b cannot be used.", "Look at its owner and mode: ls -ld /a/b"),
        (ENAMETOOLONG, "/a/b cannot be used.", "Choose another path."),
        (ELOOP, "/a/b cannot be used.", "Choose another path."),
        (EEXIST, "/a/b cannot be created or replaced.", "Move it, or choose another path."),
    ],
    ids=["full", "not allowed", "read-only", "too long", "circular links", "existing"],
)
def test_errors_that_a_user_can_fix_name_the_file(number: int, what: str, next_step: str) -> None:
    found = files.refusal(OSError(number, os.strerror(number), "/a/b"))

    assert found is not None
    assert (found.what, found.why, found.next_step) == (what, f"{os.strerror(number)}.", next_step)


def test_circular_links_have_a_path(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to("circle")

    assert files.real(tmp_path / "link").parent == tmp_path


def test_a_full_disk_without_a_file_name_is_explained() -> None:
    found = files.refusal(OSError(ENOSPC, "No space left on device"))

    assert found is not None
    assert found.what == "a file or folder cannot be written."


def test_a_missing_file_is_treated_as_a_defect() -> None:
    assert files.refusal(FileNotFoundError(ENOENT, "No such file or directory", "/a/b")) is None


def test_a_removed_current_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    for attempt in (Path.cwd, Path("out").mkdir):
        with pytest.raises(OSError, match="No such file") as caught:
            attempt()
        found = files.refusal(caught.value)

        assert found is not None
        assert found.what == "The current folder no longer exists."
    assert files.refusal(FileNotFoundError(ENOENT, "No such file or directory", "/a/b")) is None
