"""The lists of ignored files keep plaintext out of commits and out of the image."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.builders import ROOT, checked_in_settings

SETTINGS = checked_in_settings()
FOLDERS = [f"kubernetes/{environment.secrets.plaintexts}" for environment in SETTINGS.environments.values()]
PLAINTEXTS = [
    f"{folder}/{name}" for folder in FOLDERS for name in SETTINGS.environments["staging"].secrets.files
]
MUST_BE_IGNORED = [
    *PLAINTEXTS,
    *[f"{folder}/anything-new.json" for folder in FOLDERS],
    *[f"{folder}/.lookit-secrets.env.4711-x_y" for folder in FOLDERS],
    *[f"{folder}/lookit-secrets.env.bak" for folder in FOLDERS],
    "lookit-secrets.env",
    "elsewhere/lookit-secrets.env",
    "elsewhere/googleAppCreds.json",
    ".env",
]
MUST_NOT_BE_IGNORED = [f"{path}{suffix}" for path in PLAINTEXTS for suffix in (".enc", ".expected")]


@pytest.mark.parametrize("path", MUST_BE_IGNORED)
def test_git_ignores_plaintext(path: str) -> None:
    assert ignored_by_git(path)


@pytest.mark.parametrize("path", MUST_NOT_BE_IGNORED)
def test_git_keeps_ciphertext_and_lists(path: str) -> None:
    assert not ignored_by_git(path)


@pytest.mark.parametrize("path", MUST_BE_IGNORED)
def test_docker_ignores_plaintext(path: str) -> None:
    assert ignored_by_docker(path)


@pytest.mark.parametrize("path", MUST_NOT_BE_IGNORED)
def test_docker_keeps_ciphertext_and_lists(path: str) -> None:
    assert not ignored_by_docker(path)


def test_the_image_includes_imported_modules_of_the_sandbox() -> None:
    code = "import sys, sandbox.overlay; print(*(m for m in sys.modules if m.split('.')[0] == 'sandbox'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    needed = {f"{name.replace('.', '/')}.py" for name in done.stdout.split()} - {"sandbox.py"}

    kept = {str(path.relative_to(ROOT)) for path in ROOT.glob("sandbox/**/*.py")}
    kept = {path for path in kept if not ignored_by_docker(path)}

    assert kept == needed | {"sandbox/__init__.py"}


def ignored_by_git(path: str) -> bool:
    return path in _all_ignored_by_git()


@cache
def _all_ignored_by_git() -> set[str]:
    argv = ["git", "check-ignore", "--no-index", *MUST_BE_IGNORED, *MUST_NOT_BE_IGNORED]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def ignored_by_docker(path: str) -> bool:
    """Docker's rules: patterns start at the root, ** crosses folders, the last match wins."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        if matches(pattern.removeprefix("!").strip("/"), path):
            ignored = not keeps
    return ignored


def matches(pattern: str, path: str) -> bool:
    """Whether the pattern names the path or a folder above it."""
    import re

    expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return any(re.fullmatch(expression, str(part)) for part in (Path(path), *Path(path).parents))
