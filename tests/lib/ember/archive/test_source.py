"""What archives are read as."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from tasks.lib import signals
from tasks.lib.ember.archive.inventory import inspect
from tasks.lib.ember.archive.source import FILE, Archive, open_archive, present, spooled
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings
from tests.lib.ember import archives
from tests.missed_signal import missed

EMBER = checked_in_settings().ember
FILES = {"index.html": b"<html>", "assets/app.js": b"let a;" * 5000, "sounds/x.wav": bytes(range(256)) * 9000}


def opened(folder: Path, data: bytes) -> Archive:
    return open_archive(archives.saved(folder, data), EMBER.limits)


@pytest.mark.parametrize("kind", archives.KINDS)
def test_contents_come_in_order_and_again_one_by_one(tmp_path: Path, kind: str) -> None:
    archive = opened(tmp_path, archives.KINDS[kind](FILES))
    members = [member for member in archive.members() if member.kind == FILE]
    in_order = {member.name: opener().read() for member, opener in archive.contents(members)}
    assert in_order == FILES
    assert {member.name: archive.open(member).read() for member in reversed(members)} == FILES
    archive.close()


@pytest.mark.parametrize("kind", archives.KINDS)
def test_a_file_can_be_opened_while_another_is_being_read(tmp_path: Path, kind: str) -> None:
    archive = opened(tmp_path, archives.KINDS[kind](FILES))
    first, second, third = [member for member in archive.members() if member.kind == FILE]
    contents = archive.contents([first, second, third])
    next(contents)
    _, opener = next(contents)
    file = opener()
    start = file.read(10)
    assert archive.open(third).read() == FILES["sounds/x.wav"]
    assert start + file.read() == FILES["assets/app.js"]
    archive.close()


@pytest.mark.parametrize("kind", archives.KINDS)
def test_every_kind_gives_the_same_entries(tmp_path: Path, kind: str) -> None:
    inventory = inspect(opened(tmp_path, archives.KINDS[kind](FILES)), "p/", EMBER)
    assert [(entry.path, entry.size) for entry in inventory.entries] == [
        (n, len(d)) for n, d in FILES.items()
    ]


def test_a_folder_is_read_by_name(app: Path) -> None:
    archive = open_archive(str(app), EMBER.limits)
    names = [member.name for member in archive.members() if member.kind == FILE]
    assert names == sorted(names)
    assert "index.html" in names


@pytest.mark.parametrize("kind", archives.KINDS)
def test_a_single_folder_around_the_app_is_left_out(tmp_path: Path, kind: str) -> None:
    data = archives.KINDS[kind]({f"dist/{name}": content for name, content in FILES.items()})
    inventory = inspect(opened(tmp_path, data), "p/", EMBER)
    assert [entry.path for entry in inventory.entries] == list(FILES)


def test_files_added_by_finder_are_ignored(tmp_path: Path) -> None:
    data = archives.zipped({**FILES, "__MACOSX/._index.html": b"?", "assets/.DS_Store": b"?"})
    inventory = inspect(opened(tmp_path, data), "p/", EMBER)
    assert {entry.path for entry in inventory.entries} == set(FILES)


def test_an_unknown_kind_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        opened(tmp_path, b"Rar!\x1a\x07" + bytes(600))
    assert caught.value.next_step == "A zip, tar, tar.gz, tar.zst, a folder, or - for standard input."


def test_a_missing_archive_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no archive"):
        open_archive(str(tmp_path / "none.zip"), EMBER.limits)


def test_missing_archive_option_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="No archive was named"):
        open_archive("", EMBER.limits)


@contextmanager
def stream(folder: Path, data: bytes) -> Iterator[IO[bytes]]:
    """Standard input with `data`."""
    (folder / "stdin").write_bytes(data)
    with (folder / "stdin").open("rb") as file:
        yield file


def test_standard_input_is_copied_as_it_came(tmp_path: Path) -> None:
    data = archives.tar_gz(FILES)
    with stream(tmp_path, data) as file:
        assert spooled(file, EMBER.limits).read() == data


def test_standard_input_is_bounded(tmp_path: Path) -> None:
    limits = checked_in_settings(ember={"limits": {"total_size": "1000B"}}).ember.limits
    with stream(tmp_path, bytes(1001)) as file, pytest.raises(Failure, match="standard input is refused"):
        spooled(file, limits)


def test_a_signal_just_before_a_pipe_is_opened_ends_the_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "app.zip")
    with pytest.raises(signals.Terminated), signals.unwinding(), missed(signal.SIGTERM):
        open_archive(str(tmp_path / "app.zip"), EMBER.limits)


def test_a_signal_just_before_a_pipe_is_read_ends_the_wait() -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as file,
        os.fdopen(writing, "wb"),
        pytest.raises(signals.Terminated),
        signals.unwinding(),
        missed(signal.SIGTERM),
    ):
        spooled(file, EMBER.limits)


def test_standard_input_is_always_there(tmp_path: Path) -> None:
    assert present("-")
    assert not present("")
    assert not present(str(tmp_path / "none.zip"))


def test_standard_input_without_room_for_it_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The device that is always full.
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "r+b", buffering=0))
    with stream(tmp_path, b"PK") as file, pytest.raises(Failure, match="could not be copied") as caught:
        spooled(file, EMBER.limits)
    assert "No space left on device" in caught.value.why


def test_closed_standard_input_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="Standard input is closed"):
        open_archive("-", EMBER.limits)
