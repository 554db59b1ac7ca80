"""Control groups, in folders that look like the kernel's."""

from pathlib import Path

import pytest

from sandbox.containers import cgroups
from tasks.lib.errors import Failure


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    for name in ("cpu", "cpuset", "memory", "pids"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks").touch()
    (tmp_path / "unified").mkdir()
    for name in cgroups.INHERITED:
        (tmp_path / "cpuset" / name).write_text("0-1\n")
    return tmp_path


def test_a_group_is_made_in_every_hierarchy_of_version_1(first_version: Path) -> None:
    cgroups.create("mine", first_version)

    assert {path.parent.name for path in first_version.glob("*/mine")} == {"cpu", "cpuset", "memory", "pids"}
    assert (first_version / "cpuset/mine/cpuset.cpus").read_text() == "0-1\n"
    assert cgroups.controllers(first_version) == {"cpu", "cpuset", "memory", "pids"}


@pytest.mark.parametrize(
    ("file", "weight"), [("cpu/mine/cpu.shares", "8192"), ("cpu/mine/cpu.weight", "800")]
)
def test_a_node_weighs_more_than_one_process(first_version: Path, file: str, weight: str) -> None:
    (first_version / "cpu/mine").mkdir()
    (first_version / file).write_text("as it comes")

    cgroups.create("mine", first_version)

    assert (first_version / file).read_text() == weight


def test_version_2_has_one_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")

    cgroups.create("mine", tmp_path)

    assert (tmp_path / "mine").is_dir()
    assert cgroups.controllers(tmp_path) == {"cpu", "memory", "pids"}


def test_a_group_is_removed_with_all_below_it(first_version: Path) -> None:
    for group in ("memory/mine/kubepods/pod1/container", "pids/mine", "memory/docker/abc", "mine-not"):
        (first_version / group).mkdir(parents=True)

    cgroups.remove("mine", first_version)

    assert list(first_version.glob("*/mine")) == []
    assert (first_version / "memory/docker/abc").is_dir()
    assert (first_version / "mine-not").is_dir()


def test_a_group_that_stays_busy_is_a_failure(first_version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = first_version / "pids/mine"
    busy.mkdir()
    (busy / "a-file-that-keeps-it").touch()
    monkeypatch.setattr(cgroups, "TIME_LIMIT", 0.0)

    with pytest.raises(Failure, match=r"pids/mine could not be removed") as failure:
        cgroups.remove("mine", first_version)

    assert failure.value.why == "A process in it does not end."
