"""kubectl reaches the cluster of a task, and nothing of the user's own configuration."""

import json
from pathlib import Path

import pytest

from tasks.lib import process
from tasks.lib.cluster import kubectl
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.render import kustomize
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import Answer, Scripted

PROGRAM = kustomize.kubectl(checked_in_settings())


def test_kubectl_reaches_the_cluster_with_the_token(server: Scripted) -> None:
    server.answers = [Answer(200, b"it is well")]

    with kubectl.private(PROGRAM, server.api(), "default") as private:
        argv = private.argv("get", "--raw", "/healthz")
        done = process.run(argv, time_limit=60, env=kubectl.ENVIRONMENT)

    assert done.stdout == b"it is well"
    assert [one.headers["Authorization"] for one in server.asked] == ["Bearer a-token"]


def test_the_users_own_configuration_is_never_read(
    server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    for name in ("config", "kuberc", "other"):
        (home / ".kube" / name).write_text("{damaged")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KUBECONFIG", str(home / ".kube/other"))

    with kubectl.private(PROGRAM, server.api(), "there") as private:
        argv = private.argv("config", "view", "--minify", "--output=json")
        done = process.run(argv, time_limit=60, env=kubectl.ENVIRONMENT)

    [context] = json.loads(done.stdout)["contexts"]
    assert context["context"]["namespace"] == "there"
    assert done.stderr == b""
    assert sorted(path.name for path in (home / ".kube").iterdir()) == ["config", "kuberc", "other"]


def test_the_token_is_only_in_a_private_file_that_goes(server: Scripted) -> None:
    with kubectl.private(PROGRAM, server.api(), "default") as private:
        config = private.folder / "kubeconfig"
        assert "a-token" in config.read_text()
        assert (config.stat().st_mode & 0o777, private.folder.stat().st_mode & 0o777) == (0o600, 0o700)
        assert "a-token" not in " ".join(private.argv("get", "pods"))
    assert not private.folder.exists()


def test_a_public_authority_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)

    found = kubectl.kubeconfig(Endpoint("https://gke.example"), "t", "default")

    assert found["clusters"][0]["cluster"] == {"server": "https://gke.example"}


def test_the_proxy_is_the_one_of_a_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "near.example")

    far = kubectl.kubeconfig(Endpoint("https://far.example"), "t", "default")
    near = kubectl.kubeconfig(Endpoint("https://near.example"), "t", "default")

    assert far["clusters"][0]["cluster"]["proxy-url"] == "http://proxy.example:3128"
    assert "proxy-url" not in near["clusters"][0]["cluster"]
