"""The sandbox's registry: how it is configured, and what is said where it is not installed."""

import os
from pathlib import Path

import pytest
import yaml

from sandbox import image_registry
from sandbox.components import Probe, write_plan
from sandbox.state import State
from tasks.lib.errors import Failure


def test_the_registry_stores_images_in_the_sandbox_folder(tmp_path: Path) -> None:
    here = State(tmp_path / "a, b")

    written = yaml.safe_load(image_registry.configuration(here, 5))

    assert written["storage"] == {
        "filesystem": {"rootdirectory": f"{here.folder}/registry/content"}, "delete": {"enabled": True},
    }  # fmt: skip
    assert written["http"] == {"addr": "127.0.0.1:5"}


def test_it_is_well_when_it_speaks_the_registry_s_protocol(tmp_path: Path) -> None:
    found = image_registry.component(State(tmp_path), Path("/usr/bin/docker-registry"), 5)

    assert found.argv == ("/usr/bin/docker-registry", "serve", f"{tmp_path}/registry/config.yml")
    assert found.probe == Probe("http://127.0.0.1:5/v2/")


def test_its_address_is_known_once_it_is_planned(tmp_path: Path) -> None:
    here = State(tmp_path)
    before = image_registry.address(here)
    write_plan(here.plan, [image_registry.component(here, Path("/x"), 5)])

    assert (before, image_registry.address(here)) == ("", "127.0.0.1:5")


@pytest.mark.parametrize("name", image_registry.PROGRAMS)
def test_it_goes_by_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert image_registry.program() == tmp_path / name


def test_a_missing_registry_names_the_command_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))

    with pytest.raises(Failure, match="docker-registry is not installed") as failure:
        image_registry.ensure(State(tmp_path), 1)

    assert "apt-get install docker-registry" in failure.value.next_step
    assert not (tmp_path / "components.json").exists()
