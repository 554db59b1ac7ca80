"""The wrapper `inv`: what a first call does, and what it says when it cannot."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose lock asks for nothing, so that no network is needed, and whose tasks name their Python."""
    shutil.copy(ROOT / "inv", tmp_path / "inv")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__main__.py").write_text("import sys; print(sys.prefix, *sys.argv[1:])")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").write_text("# nothing\n")
    return tmp_path


def _programs(folder: Path, **scripts: str) -> str:
    """A PATH of the given scripts and the few programs that the wrapper calls."""
    folder.mkdir()
    for name in ("dirname", "readlink", "cmp", "id", "rm", "cp"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def _inv(checkout: Path, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": path, "PYTHON": "", "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(
        [checkout / "inv", "--version"], env=environment, capture_output=True, text=True, check=False
    )


def _pretend_installed(checkout: Path) -> None:
    """An environment that has nothing but Python, and the packages of the lock by its stamp."""
    python = Path(sys.executable).resolve()
    for folder in ("bin", f"lib/{python.name}"):
        (checkout / ".venv" / folder).mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(python)
    shutil.copy(checkout / "requirements" / "dev.txt", checkout / ".venv" / ".installed")


@pytest.fixture
def quick_venv(tmp_path: Path) -> str:
    """A PATH whose python3 makes an environment that borrows this one's pip: installing one takes ten seconds."""
    (tmp_path / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    script = """
if [ "$1 $2 $3" = "-m venv --clear" ]; then
    {python} -m venv --clear --without-pip "$4" && exec cp {pth} "$4"/lib/python3*/site-packages/
fi
exec {python} "$@"
"""
    filled = script.format(python=Path(sys.executable).resolve(), pth=tmp_path / "borrowed.pth")
    return f"{_programs(tmp_path / 'bin', python3=filled)}:{os.environ['PATH']}"


@pytest.mark.e2e  # for its seconds: it runs the real pip
def test_packages_are_reinstalled_after_a_change_or_failure(checkout: Path, quick_venv: str) -> None:
    first, second = _inv(checkout, quick_venv), _inv(checkout, quick_venv)

    assert "installing the locked packages" in first.stderr
    assert "installing" not in second.stderr
    assert second.stdout == f"{checkout / '.venv'} --search-root {checkout} --write-pyc --version\n"

    (checkout / "requirements" / "dev.txt").write_text("./no-such-package --hash=sha256:00\n")
    for _ in range(2):
        broken = _inv(checkout, quick_venv)
        assert broken.returncode == 1
        assert "installing the locked packages" in broken.stderr
        assert "pip could not install requirements/dev.txt" in broken.stderr


@pytest.mark.parametrize(("asked", "kept"), [("", True), ("1", False)])
def test_compiled_modules_are_kept_unless_python_must_not(tmp_path: Path, asked: str, kept: bool) -> None:
    """In a copy of the tasks, which nobody has compiled yet; what they import is."""
    (tmp_path / "requirements").mkdir()
    for name in ("inv", "invoke.yaml", "tasks.py", "requirements/dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".venv", "sandbox"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": asked}
    subprocess.run([tmp_path / "inv", "settings"], env=environment, capture_output=True, check=True)
    compiled = (tmp_path / "tasks/lib/settings/__pycache__").glob("listing.*.pyc")
    assert any(compiled) is kept


def test_relative_paths_start_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # one that says so does import from there
    (tmp_path / "invoke.py").write_text("raise SystemExit('imported from the caller')")
    (tmp_path / "mine.yaml").write_text("kms: {project: mine}")
    (tmp_path / "linked").symlink_to(ROOT / "inv")
    done = subprocess.run(
        ["./linked", "-f", "mine.yaml", "settings"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r'^kms.project +invoke -f +"mine"$', done.stdout, re.MULTILINE)


def test_ctrl_c_before_tasks_run_ends_it_without_a_traceback(checkout: Path) -> None:
    _pretend_installed(checkout)
    program = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('went on')"
    (checkout / "tasks" / "__main__.py").write_text(program)
    done = subprocess.run([checkout / "inv"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_an_old_python_is_refused_with_a_next_step(checkout: Path, tmp_path: Path) -> None:
    done = _inv(checkout, _programs(tmp_path / "bin", python3="exit 1"))

    assert done.returncode == 1
    assert "no Python 3.11 or newer was found" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_that_was_removed_since_is_installed_anew(checkout: Path, tmp_path: Path) -> None:
    """As by an upgrade of the system: .venv has a link to it, and the packages are those of the lock."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/such/python3")
    shutil.copy(checkout / "requirements" / "dev.txt", checkout / ".venv" / ".installed")

    done = _inv(checkout, _programs(tmp_path / "bin"))

    assert "no Python 3.11 or newer was found on PATH" in done.stderr


def test_a_python_of_another_version_is_installed_for_anew(checkout: Path, tmp_path: Path) -> None:
    """As after an upgrade of the system: its python3 is a newer one, which has none of the packages."""
    newer = tmp_path / "python3.99"
    newer.write_text("#!/bin/sh\nexit 1\n")
    newer.chmod(0o755)
    for folder in ("bin", "lib/python3.11"):
        (checkout / ".venv" / folder).mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(newer)
    shutil.copy(checkout / "requirements" / "dev.txt", checkout / ".venv" / ".installed")

    done = _inv(checkout, _programs(tmp_path / "bin"))

    assert "no Python 3.11 or newer was found on PATH" in done.stderr


def test_a_python_without_venv_is_explained(checkout: Path, tmp_path: Path) -> None:
    no_ensurepip = 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac'
    done = _inv(checkout, _programs(tmp_path / "bin", python3=no_ensurepip))

    assert done.returncode == 1
    assert "python3 cannot create virtual environments" in done.stderr
