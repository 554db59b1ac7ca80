"""What tests do about a program that is missing: install it where that is possible, else say why they are skipped."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from tasks.lib.background import Background
from tests import debian


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that apt-get was asked for; it installs none."""
    found: list[str] = []

    def run(*argv: str) -> bool:
        found.append(argv[-1])
        return False

    monkeypatch.setattr(debian, "_succeeds", run)
    return found


@pytest.fixture(autouse=True)
def skips_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKIT_NO_SKIPS", raising=False)


def test_missing_packages_fail_if_skips_are_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKIT_NO_SKIPS", "1")

    with pytest.raises(pytest.fail.Exception, match="no engine  .LOOKIT_NO_SKIPS=1"):
        debian.unavailable("no engine")


def test_what_is_installed_is_used(asked: list[str]) -> None:
    assert Path(debian.require("sh", "dash")).name == "sh"
    assert asked == []


def test_where_only_root_could_install_it_the_test_says_how(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(pytest.skip.Exception, match="sudo apt-get install nothing-such"):
        debian.require("no-such-program", "nothing-such")
    assert asked == []


def test_missing_packages_are_installed_with_fresh_lists(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: "/usr/bin/apt-get" if name == "apt-get" else None
    )

    with pytest.raises(pytest.skip.Exception, match="apt-get could not install nothing-such"):
        debian.require("no-such-program", "nothing-such")
    assert asked == ["nothing-such", "update"]


def test_a_partial_installation_of_another_worker_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program is unpacked before the libraries that it needs."""
    unpacked, order = threading.Event(), list[str]()
    others: list[Background[None]] = []

    def use() -> None:
        debian.require("no-such-program", "nothing-such")
        order.append("used")

    def install(*_: str) -> bool:
        unpacked.set()
        others.append(Background(use))
        assert not others[0].is_done(0.2)
        order.append("installed")
        return True

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: name if unpacked.is_set() else None)
    monkeypatch.setattr(debian, "_may_install", lambda: True)
    monkeypatch.setattr(debian, "_succeeds", install)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    debian.require("no-such-program", "nothing-such")
    others[0].wait()

    assert order == ["installed", "used"]
