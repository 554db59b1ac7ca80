"""Where the control plane's programs come from."""

import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sandbox import binaries, building, downloads
from sandbox.containers import programs
from sandbox.preparing import FILES
from tasks.lib import console
from tasks.lib.errors import Failure, TimedOut
from tests.heard import until

MODULE = FILES / "controlplane"
DIGEST = "ab" * 32


def program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network."""
    monkeypatch.setattr(downloads, "_unreachable", {"github.com", "dl.k8s.io"})


def test_versions_are_those_of_the_go_module() -> None:
    assert {one.name: one.version for one in binaries.programs(MODULE)} == {
        "etcd": "v3.6.8", "kube-apiserver": "v1.36.3", "kube-controller-manager": "v1.36.3",
        "kube-scheduler": "v1.36.3", "kwok": "v0.8.0",
    }  # fmt: skip


def test_the_build_command_stamps_the_version() -> None:
    assert building.argv("go", ["example.com/a/cmd/b"], "v1.36.3") == (
        "go", "install", "-ldflags",
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 "
        "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
        "example.com/a/cmd/b",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("package", "name"),
    [("go.etcd.io/etcd/server/v3", "server"), ("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
)
def test_a_built_program_is_called(package: str, name: str) -> None:
    assert building.binary_name(package) == name


@pytest.mark.parametrize(
    ("program_name", "url", "checksums", "member"),
    [
        ("kube-apiserver", "https://dl.k8s.io/release/v1/bin/linux/amd64/kube-apiserver",
         "https://dl.k8s.io/release/v1/bin/linux/amd64/kube-apiserver.sha256", ""),
        ("etcd", "https://github.com/etcd-io/etcd/releases/download/v1/etcd-v1-linux-amd64.tar.gz",
         "https://github.com/etcd-io/etcd/releases/download/v1/SHA256SUMS", "etcd-v1-linux-amd64/etcd"),
        ("coredns", "https://github.com/coredns/coredns/releases/download/v1/coredns_1_linux_amd64.tgz",
         "https://github.com/coredns/coredns/releases/download/v1/coredns_1_linux_amd64.tgz.sha256", "coredns"),
        ("kwok", "https://github.com/kubernetes-sigs/kwok/releases/download/v1/kwok-linux-amd64",
         "https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v1", ""),
    ],
)  # fmt: skip
def test_an_official_release_lies_at(program_name: str, url: str, checksums: str, member: str) -> None:
    assert downloads.release(program_name, "v1", "amd64") == downloads.Release(url, checksums, member)


@pytest.mark.parametrize(
    "text",
    [
        DIGEST,
        f"{DIGEST}  kwok\n",
        f"{'cd' * 32}  other\n{DIGEST} *kwok\n",
        f'{{"assets": [{{"name": "kwok", "digest": "sha256:{DIGEST}"}}]}}',
    ],
    ids=["bare", "sha256sum", "among others", "GitHub"],
)
def test_a_published_digest_is_found(text: str) -> None:
    assert downloads.published_digest(text, "kwok") == DIGEST


@pytest.mark.parametrize("text", ["", "<html>", f"{DIGEST}  other", '{"assets": []}'])
def test_no_digest_means_no_download(text: str) -> None:
    with pytest.raises(ValueError, match="no checksum is published for kwok"):
        downloads.published_digest(text, "kwok")


@pytest.mark.usefixtures("cut_off")
def test_programs_on_path_with_the_pinned_version_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in binaries.programs(MODULE):
        program(tmp_path / "bin" / one.name, f"{one.name} version {one.version}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    found = binaries.obtain(MODULE, tmp_path / "cache")

    assert {name: path.resolve() for name, path in found.items()} == {
        one.name: tmp_path / "bin" / one.name for one in binaries.programs(MODULE)
    }


@pytest.mark.usefixtures("cut_off")
def test_without_go_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "kwok", "kwok version v0.1.0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("tasks.lib.go.USUAL", tmp_path / "nowhere")

    with pytest.raises(Failure) as failure:
        binaries.obtain(MODULE, tmp_path / "cache")

    assert failure.value.what == "The sandbox's control plane cannot be installed."
    assert "https://go.dev/dl" in failure.value.next_step


@pytest.mark.usefixtures("cut_off")
def test_an_old_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "go", "go version go1.19.8 linux/amd64")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(Failure) as failure:
        binaries.obtain(MODULE, tmp_path / "cache")

    assert (
        failure.value.why == f"{tmp_path}/bin/go is go version go1.19.8 linux/amd64; 1.21 or newer is needed."
    )


@pytest.mark.usefixtures("cut_off")
def test_a_failed_build_shows_the_compiler_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "bin" / "go"
    program(go, "go version go1.26.0 linux/amd64")
    go.write_text(go.read_text() + "[ $1 = version ] && exit\necho 'it does not compile' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(Failure, match="could not be built") as failure:
        binaries.obtain(MODULE, tmp_path / "cache")

    assert "it does not compile" in failure.value.why
    assert [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"
    ] == []


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A go command that makes every program, whatever is asked for; what it was asked stands in the file `asked`."""
    go = tmp_path / "bin" / "go"
    program(go, "go version go1.26.0 linux/amd64")
    go.write_text(
        go.read_text()
        + f'[ $1 = version ] && exit\nmkdir -p "$GOBIN"\necho "$*" >> {tmp_path / "asked"}\n'
        + "echo 'go: downloading k8s.io/api v0.36.3' >&2\n"
        + "for name in server kube-apiserver kube-controller-manager kube-scheduler kwok "
        + "kubelet kube-proxy coredns pause cloud-sql-proxy\n"
        + 'do echo "built $name" >"$GOBIN/$name"\ndone\n'
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return go


@pytest.mark.usefixtures("cut_off", "go")
def test_what_was_built_is_kept_and_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = binaries.obtain(MODULE, tmp_path / "cache")

    assert built["etcd"].read_text() == "built server\n"
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in built.values())
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Building 5 programs of Kubernetes v1.36.3 from Go source. "
        "On 2 cores this takes about 5 minutes, once: the result is cached."
    )
    monkeypatch.setenv("PATH", "/nonexistent")
    assert binaries.obtain(MODULE, tmp_path / "cache") == built
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("cut_off", "go")
def test_all_of_kubernetes_is_built_at_once_for_a_real_node(tmp_path: Path) -> None:
    found = programs.obtain(tmp_path / "cache")

    first, *others = (tmp_path / "asked").read_text().splitlines()
    assert all(package in first for package in (*programs.PACKAGES.values(), *binaries.PACKAGES.values()))
    assert len(others) == 2
    assert {"kubelet", "kube-proxy", "coredns", "pause", "cloud-sql-proxy"} < set(found)


def test_a_release_is_preferred_to_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, version: str, folder: Path) -> Path:
        path = folder / name
        path.write_text(f"{name} {version}")
        return path

    monkeypatch.setattr(downloads, "fetch", fetch)
    monkeypatch.setenv("PATH", "/nonexistent")

    found = binaries.obtain(MODULE, tmp_path / "cache")

    assert found["kwok"].read_text() == "kwok v0.8.0"
    assert found["kwok"].stat().st_mode & 0o777 == 0o755
    assert [path.name for path in found["kwok"].parent.iterdir() if path.is_dir()] == []


def test_a_module_that_lacks_a_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("require k8s.io/kubernetes v1.36.3\n")

    with pytest.raises(Failure) as failure:
        binaries.programs(tmp_path)

    assert failure.value.what == "The version of etcd is not known."
    assert failure.value.why == f"{tmp_path}/go.mod does not require go.etcd.io/etcd/server/v3."
    assert failure.value.next_step == f"Restore the file: git checkout {tmp_path}/go.mod"


def test_a_build_says_that_it_goes_on(go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build waits here until that was said."""
    told = tmp_path / "told"
    os.mkfifo(told)
    go.write_text(go.read_text() + f"read line <{told}\n")
    monkeypatch.setattr(building, "REPORT_EVERY", 0.01)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            told.write_text("go on\n")

    monkeypatch.setattr(console, "say", say)
    (tmp_path / "go.mod").write_text("k8s.io/kubernetes v1.36.3\n")

    built = building.build(tmp_path, ["example.com/kwok"], tmp_path / "built", {})

    assert (built / "kwok").read_text() == "built kwok\n"
    assert said[1].startswith("  Still building after ")


@pytest.mark.usefixtures("go")
def test_a_build_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "TIME_LIMIT", 0.0)
    (tmp_path / "go.mod").write_text("k8s.io/kubernetes v1.36.3\n")

    with pytest.raises(TimedOut, match="took too long and was ended") as failure:
        building.build(tmp_path, ["example.com/kwok"], tmp_path / "built", {})

    assert failure.value.next_step == "Run the same command again: what was compiled is cached."


def test_a_build_that_stands_still_is_ended(
    go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "STANDSTILL", 0.1)
    go.write_text(go.read_text() + "sleep 600\n")
    (tmp_path / "go.mod").write_text("k8s.io/kubernetes v1.36.3\n")

    with pytest.raises(TimedOut, match="made no progress for 0.1 s and was ended") as failure:
        building.build(tmp_path, ["example.com/kwok"], tmp_path / "built", {})

    assert "`go env GOPROXY`" in failure.value.next_step


def test_a_slow_build_goes_on_while_it_uses_the_processor(
    go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build waits here until it was looked at five times."""
    looked = tmp_path / "looked"
    os.mkfifo(looked)
    go.write_text(go.read_text() + f"read line <{looked}\n")
    (tmp_path / "go.mod").write_text("k8s.io/kubernetes v1.36.3\n")
    used = itertools.count(step=2.0)

    def processor_time(program: str) -> float:
        assert program == str(go)
        seconds = next(used)
        if seconds == 10.0:
            looked.write_text("go on\n")
        return seconds

    monkeypatch.setattr(building, "STANDSTILL", 0.01)
    monkeypatch.setattr(building, "_processor_time", processor_time)

    built = building.build(tmp_path, ["example.com/kwok"], tmp_path / "built", {})

    assert (built / "kwok").read_text() == "built kwok\n"


def test_the_processor_time_of_a_build_is_that_of_its_compilers_too() -> None:
    busy = f"while :; do :; done & wait  # {os.getpid()}"
    with subprocess.Popen(["sh", "-c", busy]) as build:
        try:
            until(lambda: building._processor_time(busy) > 0.05)
        finally:
            for one in building._builds(busy):
                one.kill()

    assert build.returncode == -signal.SIGKILL
    assert building._processor_time(busy) == 0.0


@pytest.mark.usefixtures("cut_off", "go")
def test_a_program_without_releases_is_only_ever_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = binaries.Program("kwok", "sandbox.local/kwok", "")
    monkeypatch.setattr(downloads, "fetch", lambda *_: pytest.fail("it was looked for"))

    built = binaries.obtain(MODULE, tmp_path / "cache", [own])

    assert built["kwok"].read_text() == "built kwok\n"


def test_another_version_gets_another_folder(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((MODULE / name).read_bytes())
    before = binaries.cache_key(tmp_path)
    same = tmp_path / MODULE.name
    same.mkdir()
    for name in ("go.mod", "go.sum"):
        (same / name).write_bytes((MODULE / name).read_bytes())
    assert binaries.cache_key(same) == binaries.cache_key(MODULE)

    (tmp_path / "go.sum").write_text("other")

    assert binaries.cache_key(tmp_path) != before


def test_changed_source_gets_another_folder(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((MODULE / name).read_bytes())
    before = binaries.cache_key(tmp_path)

    (tmp_path / "main.go").write_text("package main")

    assert binaries.cache_key(tmp_path) != before


def test_the_version_of_a_program_that_is_none_is_empty() -> None:
    assert building.version_of(Path("/nonexistent")) == ""
