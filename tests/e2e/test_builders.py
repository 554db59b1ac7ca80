"""Each builder that Docker may have: the same command makes the same image."""

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from tasks.lib.image import build, checkout, docker, engine, registry
from tasks.lib.image.docker import Builder
from tasks.lib.image.reference import parse
from tests.builders import checked_in_settings
from tests.docker_services import RegistryProcess, buildx_configuration, client_with_buildkit, output
from tests.sample_checkout import Sample, invoke, sample_apart

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600, func_only=True)]

RANDOM = "FROM lookit-test/base:local\nRUN head -c 16 /dev/urandom >/random\nCOPY manage.py /\n"
INLINE_CACHE = "moby.buildkit.cache.v0"


@pytest.fixture
def source(docker_engine: None, tmp_path: Path) -> Sample:
    return sample_apart(tmp_path / "lookit-api")


@pytest.fixture(params=list(Builder), ids=lambda builder: builder.name.lower())
def with_(
    request: pytest.FixtureRequest, docker_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Builder:
    """A builder that Docker's client has in this test."""
    wanted: Builder = request.param
    if wanted is Builder.BUILDX:
        monkeypatch.setenv("DOCKER_CONFIG", str(buildx_configuration()))
    if wanted is Builder.INTEGRATED:
        (tmp_path / "client").mkdir()
        monkeypatch.setenv(
            "PATH", f"{client_with_buildkit(tmp_path / 'client')}{os.pathsep}{os.environ['PATH']}"
        )
    best = engine.builder(60)
    assert wanted in {best, Builder.CLASSIC}
    return wanted


def test_an_image_is_what_was_asked_for_whatever_builds_it(source: Sample, with_: Builder) -> None:
    settings = checked_in_settings(
        image={"repository": "lookit-test/builders"}, build={"network": "host", "arguments": {"MORE": "1"}}
    )
    variables = checkout.variables(settings, source.folder, tag=f"v1-{with_.name.lower()}")
    tree = checkout.Tree(source=source.folder, folder=source.folder, committed="2024")
    wanted = build.plan(settings, tree, variables)
    command = docker.build(wanted, with_)

    subprocess.run(command.argv, env={**os.environ, **command.env}, check=True, capture_output=True)

    made = json.loads(output("docker", "image", "inspect", wanted.tags[1]))[0]
    assert set(wanted.tags) <= {f"docker.io/{tag}" for tag in made["RepoTags"]}
    assert made["Config"]["Labels"] == wanted.labels
    assert f"VERSION={source.head}" in made["Config"]["Env"]
    assert (made["Os"], made["Architecture"]) == ("linux", "amd64")


def test_the_classic_builder_reuses_layers_that_only_the_registry_has(
    source: Sample, shared_registry: RegistryProcess
) -> None:
    """A layer of random bytes is the same again only if it was reused."""
    if engine.builder(60) is not Builder.CLASSIC:
        pytest.skip("BuildKit's own cache would hide whether the registry's was used")
    env = cached(shared_registry)
    first = pushed(source, env)
    output("docker", "image", "rm", "--force", f"{env['INVOKE_IMAGE_REPOSITORY']}:{source.head}")

    assert layers(source, env) == first


@pytest.mark.parametrize("with_", [Builder.BUILDX, Builder.INTEGRATED], indirect=True)
def test_what_buildkit_pushes_tells_others_which_layers_to_reuse(
    source: Sample, shared_registry: RegistryProcess, with_: Builder
) -> None:
    env = cached(shared_registry)
    pushed(source, env)

    image = parse(f"{env['INVOKE_IMAGE_REPOSITORY']}:develop")
    connected = registry.connect(checked_in_settings(), image.registry)
    manifest = connected.manifest(image)
    assert manifest is not None
    assert INLINE_CACHE in connected.configuration(image, manifest)


def cached(served: RegistryProcess) -> dict[str, str]:
    """Settings that name the branch's image in a repository of `served` as the place of layers to reuse."""
    repository = f"{served.address}/{uuid.uuid4().hex}/lookit"
    return {"INVOKE_IMAGE_REPOSITORY": repository, "INVOKE_BUILD_CACHE_FROM": f"{repository}:develop"}


def pushed(source: Sample, env: dict[str, str]) -> list[str]:
    """Build an image with a layer of random bytes and push it; returns the digests of its layers."""
    source.commit(Dockerfile=RANDOM)
    found = layers(source, env)
    record = str(source.folder.parent / "image.json")
    done = invoke("push", "--source", str(source.folder), "--record", record, **env)
    assert done.returncode == 0, done.stderr
    return found


def layers(source: Sample, env: dict[str, str]) -> list[str]:
    """Build the checkout and return the digests of the image's layers."""
    done = invoke("build", "--source", str(source.folder), **env)
    assert done.returncode == 0, done.stderr
    (image,) = json.loads(output("docker", "image", "inspect", done.stdout.strip()))
    return list(image["RootFS"]["Layers"])


@pytest.mark.parametrize("with_", [Builder.BUILDX], indirect=True)
def test_a_build_secret_stays_out_of_the_image(source: Sample, with_: Builder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-token")
    line = "RUN --mount=type=secret,id=npm wc -c </run/secrets/npm >/size"
    source.commit(Dockerfile=f"FROM lookit-test/base:local\n{line}\n")
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"build": {"secrets": {"npm": str(tmp_path / "token")}}}))

    done = invoke(
        "-f",
        str(settings),
        "build",
        "--source",
        str(source.folder),
        INVOKE_IMAGE_REPOSITORY="lookit-test/secret",
    )

    assert done.returncode == 0, done.stderr
    image = done.stdout.strip()
    output("docker", "run", "--rm", image, "sh", "-c", "grep -qx 12 /size && ! test -s /run/secrets/npm")
    assert "canary-token" not in output("docker", "history", "--no-trunc", image)
