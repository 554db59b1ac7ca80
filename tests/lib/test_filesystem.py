"""Errors of the file system as messages."""

import os
from errno import EACCES, EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, EROFS
from pathlib import Path

import pytest

from tasks.lib.filesystem import real, refusal


def test_a_command_to_paste_has_its_place_as_a_shell_takes_it() -> None:
    found = refusal(OSError(EACCES, "no", "/my lab's/b"))

    assert found is not None
    assert found.next_step == """Look at its owner and mode: ls -ld '/my lab'"'"'s/b'"""


@pytest.mark.parametrize(
    ("number", "what", "next_step"),
    [
        (ENOSPC, "/a/b cannot be written.", "Make room (df -h shows where), and run this again."),
        (EACCES, "/a/b cannot be used.", "Look at its owner and mode: ls -ld /a/b"),
        (EROFS, "/a/b cannot be used.", "Look at its owner and mode: ls -ld /a/b"),
        (ENAMETOOLONG, "/a/b cannot be used.", "Choose another place."),
        (ELOOP, "/a/b cannot be used.", "Choose another place."),
        (EEXIST, "/a/b is in the way.", "Move it aside, or choose another place."),
    ],
    ids=["full", "not allowed", "read-only", "too long", "links in a circle", "in the way"],
)
def test_what_a_person_can_mend_is_said_with_its_place(number: int, what: str, next_step: str) -> None:
    found = refusal(OSError(number, os.strerror(number), "/a/b"))

    assert found is not None
    assert (found.what, found.why, found.next_step) == (what, f"{os.strerror(number)}.", next_step)


def test_links_that_lead_in_a_circle_have_a_path_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to("circle")

    assert real(tmp_path / "link").parent == tmp_path


def test_a_write_into_a_full_disk_names_no_file() -> None:
    found = refusal(OSError(ENOSPC, "No space left on device"))

    assert found is not None
    assert found.what == "a file or folder cannot be written."


def test_a_missing_file_is_more_likely_a_defect() -> None:
    assert refusal(FileNotFoundError(ENOENT, "No such file or directory", "/a/b")) is None


def test_a_working_folder_that_was_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    for attempt in (Path.cwd, Path("out").mkdir):
        with pytest.raises(OSError, match="No such file") as caught:
            attempt()
        found = refusal(caught.value)

        assert found is not None
        assert found.what == "The folder that you stand in is no longer there."
    assert refusal(FileNotFoundError(ENOENT, "No such file or directory", "/a/b")) is None
