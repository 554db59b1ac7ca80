"""Archives that somebody writes to between their examination and their upload."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lib.ember.access import Access
from tasks.lib.ember.plan import Plan
from tasks.lib.ember.transfer import Transfer
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.ember import archives

EMBER = checked_in_settings(ember={"resumable_above": "2MiB"}).ember
FILES = {
    "index.html": b"<head></head>",
    "film.mp4": random.Random(1).randbytes(6 << 20),
    "sound.wav": random.Random(2).randbytes(3 << 19),
}


def removed(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize("change", [cut, overwritten])
@pytest.mark.parametrize("kind", archives.KINDS)
def test_an_archive_that_changes_is_named(
    access: Access, tmp_path: Path, kind: str, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(archives.saved(tmp_path, archives.KINDS[kind](FILES)))
    assert " changed while it was being uploaded." in failure(access, source, source, change, monkeypatch)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("film.mp4", removed),
        ("film.mp4", cut),
        ("sound.wav", removed),
        ("sound.wav", cut),
        ("sound.wav", overwritten),
    ],
)
def test_a_file_of_a_folder_that_changes_is_named(
    access: Access, tmp_path: Path, name: str, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for path, data in FILES.items():
        (app / path).write_bytes(data)
    told = failure(access, app, app / name, change, monkeypatch)
    assert told == f"{name} changed while it was being uploaded."


def failure(
    access: Access, source: Path, changing: Path, change: Callable[[Path], None], patch: pytest.MonkeyPatch
) -> str:
    """What an upload says of `source` when `changing` is changed just before anything is sent."""
    carry_out = Transfer.carry_out

    def changed_first(self: Transfer, decided: Plan) -> None:
        change(changing)
        carry_out(self, decided)

    patch.setattr(Transfer, "carry_out", changed_first)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(source), "experiments/x")
    return caught.value.what
