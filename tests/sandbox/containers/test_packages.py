"""Where containerd, runc, CNI plugins and nft come from."""

from pathlib import Path

import pytest

from sandbox.containers import packages
from tasks.lib.errors import Failure

PRINTED = """\
'http://deb.debian.org/debian/pool/main/n/nftables/nftables_1.0.6-2%2bdeb12u2_amd64.deb' nftables_1.0.6-2+deb12u2_amd64.deb 70292 MD5Sum:79
'http://deb.debian.org/debian/pool/main/r/runc/runc_1%3a1.1.5_amd64.deb' runc_1%3a1.1.5_amd64.deb 676 SHA256:16
"""


def a_program(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def a_system(root: Path) -> Path:
    """A machine that has everything."""
    for name in packages.PROGRAMS:
        a_program(root / "usr/bin" / name)
    for name in packages.PLUGINS:
        a_program(root / "opt/cni/bin" / name)
    return root


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that has nftables, whose dpkg unpacks a program nft."""
    folder = tmp_path / "bin"
    listed = "'http://deb/nftables_1_all.deb' nftables_1_all.deb 7 SHA256:1"
    a_program(
        folder / "apt-get",
        f'case "$*" in *--print-uris*) echo "{listed}";; *) touch nftables_1_all.deb;; esac',
    )
    a_program(folder / "dpkg", 'mkdir -p "$3/usr/sbin" && touch "$3/usr/sbin/nft"')
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_what_is_installed_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    system = a_system(tmp_path / "system")

    tools = packages.obtain(tmp_path / "cache", system)

    assert tools.programs["runc"] == system / "usr/bin/runc"
    assert tools.plugins == system / "opt/cni/bin"
    assert "LD_LIBRARY_PATH" not in tools.environment


def test_what_is_missing_is_unpacked_into_the_cache_once(
    tmp_path: Path, apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = a_system(tmp_path / "system")
    (system / "usr/bin/nft").unlink()

    tools = packages.obtain(tmp_path / "cache", system)
    monkeypatch.setenv("PATH", "/nonexistent")
    again = packages.obtain(tmp_path / "cache", system)

    nft = tmp_path / "cache/packages/nftables_1_all/usr/sbin/nft"
    assert tools.programs["nft"] == again.programs["nft"] == nft
    assert str(nft.parent) in tools.path.split(":")
    assert list((tmp_path / "cache/packages").glob(".staging*")) == []


def test_apt_without_lists_says_what_to_run(tmp_path: Path, apt: Path) -> None:
    a_program(apt / "apt-get", "echo 'E: Unable to locate package runc' >&2; exit 100")
    system = a_system(tmp_path / "system")
    (system / "usr/bin/runc").unlink()

    with pytest.raises(Failure, match="The programs of a real node are not available") as failure:
        packages.obtain(tmp_path / "cache", system)

    assert failure.value.why.startswith("Missing: runc.")
    assert "Unable to locate package runc" in failure.value.why
    assert failure.value.next_step.startswith("Debian, Ubuntu: apt-get update")


def test_a_machine_without_apt_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(Failure) as failure:
        packages.obtain(tmp_path / "cache", tmp_path)

    assert failure.value.why.startswith("Missing: containerd, runc, nftables, containernetworking-plugins.")


def test_packages_have_the_version_that_apt_would_install() -> None:
    assert packages.specifications(PRINTED) == ["nftables=1.0.6-2+deb12u2", "runc=1:1.1.5"]
