"""Docker's commands, compared exactly."""

from pathlib import Path

import pytest

from tasks.lib.image import docker
from tasks.lib.image.docker import Builder

WANTED = docker.Build(
    source=Path("/src"), file=Path("/src/Dockerfile"), tags=["r/a:1", "r/a:2"], platform="linux/amd64",
    network="host", cache_from="r/a:develop", arguments={"GIT_COMMIT": "c"}, labels={"l": "v"},
)  # fmt: skip
OPTIONS = (
    "--file",
    "/src/Dockerfile",
    "--platform",
    "linux/amd64",
    "--network",
    "host",
    "--cache-from",
    "r/a:develop",
)


@pytest.mark.parametrize(
    ("builder", "front", "inline_cache", "env"),
    [
        pytest.param(Builder.BUILDX, ("docker", "buildx", "build", "--load"), True, {}, id="buildx"),
        pytest.param(
            Builder.INTEGRATED, ("docker", "build"), True, {"DOCKER_BUILDKIT": "1"}, id="integrated"
        ),
        pytest.param(
            Builder.CLASSIC, ("docker", "build", "--force-rm"), False, {"DOCKER_BUILDKIT": "0"}, id="classic"
        ),
    ],
)
def test_an_image_is_built(
    builder: Builder, front: tuple[str, ...], inline_cache: bool, env: dict[str, str]
) -> None:
    cache = ("--build-arg", "BUILDKIT_INLINE_CACHE=1") if inline_cache else ()

    command = docker.build(WANTED, builder)

    assert command.argv == (
        *front, *OPTIONS, "--build-arg", "GIT_COMMIT=c", *cache, "--label", "l=v",
        "--tag", "r/a:1", "--tag", "r/a:2", "/src",
    )  # fmt: skip
    assert command.env == env


def test_a_secret_is_named_as_docker_reads_csv() -> None:
    wanted = docker.Build(
        source=Path("/s"), file=Path("/f"), tags=[], secrets={"a": Path("/a b"), "c": Path("/c,d")}
    )

    assert docker.build(wanted, Builder.BUILDX).argv[6:10] == (
        "--secret", "id=a,src=/a b", "--secret", 'id=c,"src=/c,d"',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "buildx", "expected"),
    [
        pytest.param("28.2.2 28.2.2\n", True, Builder.BUILDX, id="a client with buildx"),
        pytest.param("20.10.24+dfsg1 20.10.24+dfsg1\n", False, Builder.INTEGRATED, id="Debian 12's own"),
        pytest.param("28.2.2 20.10.24+dfsg1\n", False, Builder.CLASSIC, id="a new client without buildx"),
        pytest.param("20.10.1 18.06.0\n", False, Builder.CLASSIC, id="an engine before BuildKit"),
        pytest.param("\n", False, Builder.CLASSIC, id="versions that cannot be read"),
    ],
)
def test_the_best_builder_is_chosen(answer: str, buildx: bool, expected: Builder) -> None:
    assert docker.builder(answer, buildx=buildx) is expected


def test_a_container_in_the_foreground_is_removed_when_it_ends() -> None:
    wanted = docker.Run(
        image="i", name="n", network="net", environment=["A=1"], labels={"l": "v"}, command=["run", "it"]
    )

    assert docker.run(wanted) == (
        "docker", "run", "--rm", "--init", "--name", "n", "--network", "net", "--env", "A=1", "--label", "l=v",
        "i", "run", "it",
    )  # fmt: skip


def test_a_service_runs_in_the_background_with_a_name() -> None:
    wanted = docker.Run(image="i", name="n", network="net", alias="database", hostname="h", detached=True)

    assert docker.run(wanted) == (
        "docker", "run", "--detach", "--name", "n", "--network", "net", "--network-alias", "database",
        "--hostname", "h", "i",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (docker.versions(), "docker version --format {{.Client.Version}} {{.Server.Version}}"),
        (docker.buildx_version(), "docker buildx version"),
        (docker.execute("c", "pg_isready", "-q"), "docker exec c pg_isready -q"),
        (docker.running("c"), "docker inspect --type container --format {{.State.Running}} c"),
        (docker.logs("c"), "docker logs --tail 20 c"),
        (docker.stop("c", 10.0), "docker stop -t 10 c"),
        (docker.copy_out("c", "/a/.", "/b"), "docker cp c:/a/. /b"),
        (docker.containers_of("l=v"), "docker ps --all --filter label=l=v --format {{.Names}}"),
        (docker.running_of("l=v"), "docker ps --filter label=l=v --format {{.Names}}"),
        (docker.remove_container("c"), "docker rm --force --volumes c"),
        (docker.create_network("n", {"l": "v"}), "docker network create --label l=v n"),
        (docker.remove_network("n"), "docker network rm n"),
        (
            docker.labelled("container", "l"),
            'docker ps --all --filter label=l --format {{.Names}} {{.Label "l"}}',
        ),
        (
            docker.labelled("network", "l", "m"),
            'docker network ls --filter label=l --format {{.Name}} {{.Label "l"}} {{.Label "m"}}',
        ),
        (docker.image_id("i"), "docker image inspect --format {{.Id}} i"),
        (docker.image_labels("i"), "docker image inspect --format {{json .Config.Labels}} i"),
        (docker.tag("i", "j"), "docker tag i j"),
        (docker.save("i:1", Path("/x/image.tar")), "docker image save --output /x/image.tar i:1"),
        (docker.push("i"), "docker push --quiet i"),
        (docker.pull("i"), "docker pull --quiet i"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_small_commands(argv: tuple[str, ...], expected: str) -> None:
    assert " ".join(argv) == expected
