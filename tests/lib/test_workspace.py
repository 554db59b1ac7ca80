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


def test_the_folder_is_private_and_removed_afterwards() -> None:
    with workspace() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "plaintext").write_bytes(b"canary")

    assert not folder.exists()


def test_the_folder_is_removed_after_an_error() -> None:
    with pytest.raises(ValueError, match="boom"), workspace() as folder:
        raise ValueError("boom")

    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_the_folder_is_removed_after_a_signal(number: signal.Signals) -> None:
    child = _child()
    folder = _announced(child)

    child.send_signal(number)
    child.wait(timeout=120)

    assert not folder.exists()


def test_the_next_call_removes_leftovers_of_kill_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where nobody else makes a workspace: whoever does sweeps at once what the dead have left.
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path)
    child = _child(tmp_path)
    folder = _announced(child)
    child.kill()
    child.wait(timeout=120)
    assert (folder / "plaintext").read_text() == "canary"

    with workspace():
        assert not folder.exists()


def test_the_sweep_keeps_other_folders(tmp_path: Path) -> None:
    unnumbered = tmp_path / f"{module.PREFIX}notes-x"
    unnumbered.mkdir()

    assert module.sweep(tmp_path) == []
    assert unnumbered.exists()


def test_the_sweep_removes_unlocked_folders_of_reused_process_numbers(tmp_path: Path) -> None:
    left = tmp_path / f"{module.PREFIX}{os.getpid()}-x"
    left.mkdir()

    assert module.sweep(tmp_path) == [left]


def test_the_sweep_keeps_locked_folders(tmp_path: Path) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()
    held = files.hold(folder)

    assert module.sweep(tmp_path) == []
    os.close(held)
    assert module.sweep(tmp_path) == [folder]


def test_the_sweep_closes_descriptors_of_locked_folders(tmp_path: Path) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()
    held = files.hold(folder)
    before = len(list(Path("/dev/fd").iterdir()))

    module.sweep(tmp_path)

    assert len(list(Path("/dev/fd").iterdir())) == before
    os.close(held)


def test_a_folder_removed_before_its_lock_is_recreated(
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


def test_the_sweep_locks_a_folder_while_removing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"{module.PREFIX}999999999-x"
    folder.mkdir()

    def removing(path: Path, **_: object) -> None:
        with pytest.raises(BlockingIOError):
            files.hold(path)
        path.rmdir()

    monkeypatch.setattr("shutil.rmtree", removing)
    assert module.sweep(tmp_path) == [folder]


def test_the_sweep_ignores_folders_that_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, _pattern: [self / f"{module.PREFIX}999999999-x"])
    assert module.sweep(tmp_path) == []


def test_a_folder_that_was_removed_already_is_no_error() -> None:
    with workspace() as folder:
        folder.rmdir()
    assert not folder.exists()


def test_without_shared_memory_the_runtime_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path / "absent")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert module.memory_folder() == tmp_path

    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert module.memory_folder() == tmp_path


def test_a_folder_on_disk_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module._warn_of_disk.cache_clear()
    monkeypatch.setattr(module, "SHARED_MEMORY", tmp_path / "absent")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with module.workspace(), module.workspace():
        pass

    assert capsys.readouterr().err.count("has no tmpfs") == 1


def _child(memory: Path = module.SHARED_MEMORY) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", HOLD_A_WORKSPACE, str(memory)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def _announced(child: "subprocess.Popen[str]") -> Path:
    assert child.stdout is not None
    return Path(child.stdout.readline().strip())
