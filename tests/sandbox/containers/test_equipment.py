"""How what a real node has is brought together."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.containers import checks, equipment, packages, programs
from sandbox.containers.packages import Tools
from sandbox.images import site
from sandbox.images.archive import Image
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings

TOOLS = Tools("", "", Path("/plugins"), {})


@pytest.fixture(autouse=True)
def fit_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "require", lambda _: None)
    monkeypatch.setattr(packages, "obtain", lambda _: TOOLS)
    monkeypatch.setattr(packages, "container", lambda _: {})


def test_images_are_made_while_programs_are_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built, made = threading.Event(), threading.Event()

    def images(*_: object) -> list[Image]:
        made.set()
        assert built.wait(60)
        return []

    def obtain(_: Path) -> Mapping[str, Path]:
        assert made.wait(60)
        built.set()
        return {"kubelet": tmp_path}

    monkeypatch.setattr(site, "images", images)
    monkeypatch.setattr(programs, "obtain", obtain)

    found = equipment.obtain(checked_in_settings(), tmp_path, "")

    assert (found.programs, found.images) == ({"kubelet": tmp_path}, [])


def test_a_bad_checkout_is_told_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def images(*_: object) -> list[Image]:
        raise Failure("This is no checkout.")

    monkeypatch.setattr(site, "images", images)
    monkeypatch.setattr(programs, "obtain", lambda _: pytest.fail("something was built"))

    with pytest.raises(Failure, match="This is no checkout"):
        equipment.obtain(checked_in_settings(), tmp_path, "", source=tmp_path)
