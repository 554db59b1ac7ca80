"""Plaintext's folder is private and does not outlive its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.lib import files
from tasks.lib import workspace as module
from tasks.lib.workspace import workspace

HOLD_A_WORKSPACE = """
import sys
from pathlib import Path
from tasks.lib import signals, workspace as module
module.SHARED_MEMORY = Path(sys.argv[1])
with signals.unwinding(), module.workspace() as folder:
    (folder / "plaintext").write_text("canary")
    print(folder, flush=True)
    signals.sleep(600)
"""


def test_the_folder_is_private_and_gone_afterwards() -> None:
    with workspace() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "plaintext").write_bytes(b"canary")

    assert not folder.exists()


def test_the_folder_is_gone_after_an_error() -> None:
    with pytest.raises(ValueError, match="boom"), workspace() as folder:
        raise ValueError("boom")

    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_the_folder_is_gone_after_a_signal(number: signal.Signals) -> None:
    child = _child()
    folder = _announced(child)

    child.send_signal(number)
    child.wait(timeout=120)

    assert not folder.exists()


def test_the_next_call_sweeps_what_kill_9_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where nobody else makes a workspace: whoever does sweeps at once what the dead have left.
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path)
    child = _child(tmp_path)
    folder = _announced(child)
    child.kill()
    child.wait(timeout=120)
    assert (folder / "plaintext").read_text() == "canary"

    with workspace():
        assert not folder.exists()


def test_the_sweep_spares_what_it_did_not_make(tmp_path: Path) -> None:
    unnumbered = tmp_path / f"{module.PREFIX}notes-x"
    unnumbered.mkdir()

    assert module.sweep(tmp_path) == []
    assert unnumbered.exists()


def test_the_sweep_takes_what_nobody_holds_though_its_number_was_given_out_again(tmp_path: Path) -> None:
    left = tmp_path / f"{module.PREFIX}{os.getpid()}-x"
    left.mkdir()

    assert module.sweep(tmp_path) == [left]


def test_the_sweep_spares_what_is_held(tmp_path: Path) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()
    held = files.hold(folder)

    assert module.sweep(tmp_path) == []
    os.close(held)
    assert module.sweep(tmp_path) == [folder]


def test_the_sweep_leaves_no_descriptor_open_for_what_is_held(tmp_path: Path) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()
    held = files.hold(folder)
    before = len(list(Path("/dev/fd").iterdir()))

    module.sweep(tmp_path)

    assert len(list(Path("/dev/fd").iterdir())) == before
    os.close(held)


def test_a_folder_that_another_containers_sweep_took_before_it_was_held_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[Path] = []
    held: list[int] = []

    def swept_between(folder: Path) -> int:
        if not taken:  # before the folder is opened
            folder.rmdir()
            taken.append(folder)
        elif len(taken) == 1:  # after it was
            held.append(os.open(folder, os.O_RDONLY))
            folder.rmdir()
            taken.append(folder)
            return os.dup(held[0])
        elif len(taken) == 2:  # while the sweep looks
            taken.append(folder)
            raise BlockingIOError
        return hold(folder)

    hold = files.hold
    monkeypatch.setattr(files, "hold", swept_between)
    monkeypatch.setattr(module, "sweep", lambda _parent: [])
    with workspace() as folder:
        assert folder not in taken
        assert folder.is_dir()
    for descriptor in held:
        os.close(descriptor)
    taken[2].rmdir()


def test_what_is_swept_is_held_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()

    def removing(path: Path, **_: object) -> None:
        with pytest.raises(BlockingIOError):
            files.hold(path)
        path.rmdir()

    monkeypatch.setattr("shutil.rmtree", removing)
    assert module.sweep(tmp_path) == [folder]


def test_the_sweep_passes_over_what_vanishes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, _pattern: [self / f"{module.PREFIX}999999999-x"])
    assert module.sweep(tmp_path) == []


def test_a_folder_that_somebody_removed_is_as_well_gone() -> None:
    with workspace() as folder:
        folder.rmdir()
    assert not folder.exists()


def test_without_shared_memory_the_runtime_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path / "absent")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert module.memory_folder() == tmp_path

    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert module.memory_folder() == tmp_path


def test_a_folder_on_the_disk_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module._tell_of_the_disk.cache_clear()
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path / "absent")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with module.workspace(), module.workspace():
        pass

    assert capsys.readouterr().err.count("no folder in memory") == 1


def _child(memory: Path = module.SHARED_MEMORY) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", HOLD_A_WORKSPACE, str(memory)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def _announced(child: "subprocess.Popen[str]") -> Path:
    assert child.stdout is not None
    return Path(child.stdout.readline().strip())
