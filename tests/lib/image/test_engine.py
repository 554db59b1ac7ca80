"""What tasks do about an engine that is old, lacks something or fails in the middle."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.image import build, push, test_run
from tasks.lib.image.checkout import CHANGED, Tree, committed, worktree
from tasks.lib.image.checkout import COMMIT as CLEAN
from tasks.lib.image.credentials import Login
from tasks.lib.image.engine import builder, image_id
from tasks.lib.image.reference import Reference, parse
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.lib.image.docker_program import DockerProgram, Says, engine
from tests.lib.image.memory_registry import MemoryRegistry, serving
from tests.sample_checkout import sample

__all__ = ["engine"]

COMMIT = "c" * 40
VARIABLES = BuildVariables(
    commit_sha=COMMIT, branch_name="develop", tag_name="latest", repo_name="lookit-api", build_id="local"
)
CLASSIC = (Says("version *", "28.2.2 20.10.24\n"), Says("buildx version", code=1))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "lookit-api"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "Dockerfile.test").write_text("FROM scratch\n")
    return folder


def plain(source: Path) -> Tree:
    """A folder without git."""
    return Tree(source=source, folder=source)


@pytest.fixture
def settings() -> Settings:
    return checked_in_settings(
        image={"repository": "r.example/lookit"},
        build={"cache_from": "r.example/lookit:develop", "file": "Dockerfile"},
        test={"file": "Dockerfile.test"},
        time_limits={"docker": "60s", "database_ready": "0.01s"},
    )


@pytest.fixture
def held() -> Iterator[MemoryRegistry]:
    with serving() as registry:
        yield registry


def test_without_an_engine_the_error_says_how_to_start_one(engine: DockerProgram) -> None:
    engine.answers(Says("version *", err="Cannot connect to the Docker daemon", code=1))

    with pytest.raises(Failure) as failure:
        builder(60)

    assert failure.value.what == "No Docker engine answers."
    assert failure.value.why == "Cannot connect to the Docker daemon"
    assert failure.value.next_step.startswith("Start it (systemctl start docker), or set DOCKER_HOST.")


DOWN = Says("version *", err="Cannot connect to the Docker daemon", code=1)
GOES_DOWN = replace(Says("version *", "28.2.2 28.2.2\n"), again=DOWN)


@pytest.mark.parametrize("during", ["build", "tests", "push"])
def test_an_engine_that_stops_meanwhile_is_the_reason(
    engine: DockerProgram, settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    monkeypatch.setattr(push, "FIRST_PAUSE", 0.0)
    pushed = parse(f"127.0.0.1:1/lookit:{COMMIT}")
    doing: dict[str, tuple[str, Callable[[], object]]] = {
        "build": ("buildx build *", lambda: build.build(settings, plain(source), VARIABLES)),
        "tests": ("run --rm *", lambda: test_run.run_suite(settings, plain(source), VARIABLES)),
        "push": ("push *", lambda: push.push_name(settings, pushed)),
    }
    pattern, task = doing[during]
    fails = Says(pattern, err="unexpected EOF", code=1)
    engine.answers(DOWN if during == "push" else GOES_DOWN, fails)

    with pytest.raises(Failure) as failure:
        task()

    assert failure.value.what == f"The Docker engine stopped during the {during}."
    assert failure.value.why == "Cannot connect to the Docker daemon"
    assert "journalctl -u docker" in failure.value.next_step


def test_without_an_engine_no_image_is_called_missing(engine: DockerProgram) -> None:
    down = "Cannot connect to the Docker daemon"
    engine.answers(Says("version *", err=down, code=1), Says("image inspect *", err=down, code=1))

    with pytest.raises(Failure, match="No Docker engine answers"):
        image_id("here:1", 60)


def test_an_image_that_was_not_built_is_named(engine: DockerProgram) -> None:
    engine.answers(Says("image inspect *", err="No such image", code=1))

    with pytest.raises(Failure) as failure:
        image_id("r.example/lookit:c", 60)

    assert failure.value.what == "This machine has no image r.example/lookit:c."
    assert failure.value.next_step == "Build it: ./inv build --source CHECKOUT"


@pytest.mark.parametrize(
    ("pull", "told"),
    [
        (Says("pull *"), []),
        (
            Says("pull *", err="manifest unknown", code=1),
            ["No layers of r.example/lookit:develop can be reused: manifest unknown"],
        ),
    ],
    ids=["the layers are there", "there are none"],
)
def test_the_classic_builder_gets_the_layers_that_it_may_reuse(
    engine: DockerProgram, settings: Settings, source: Path, pull: Says, told: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    engine.answers(*CLASSIC, pull)

    made = build.build(settings, plain(source), VARIABLES)

    assert made == [parse(f"r.example/lookit:{COMMIT}")]
    assert engine.asked[2] == "pull --quiet r.example/lookit:develop"
    assert engine.asked[3].startswith("build --force-rm --file")
    first = f"==> Build r.example/lookit:{COMMIT} from {source}/Dockerfile with the classic builder"
    assert capfd.readouterr().err.splitlines() == [first, *told]


def test_a_newer_builder_gets_its_layers_itself(
    engine: DockerProgram, settings: Settings, source: Path
) -> None:
    build.build(settings, plain(source), replace(VARIABLES, tag_name="v1"))

    assert sorted(line.partition(" ")[0] for line in engine.asked) == ["buildx", "buildx", "version"]
    assert f"--tag r.example/lookit:{COMMIT} --tag r.example/lookit:v1" in engine.asked[2]


@pytest.mark.parametrize("committed", ["2024-05-06T07:08:09Z", ""], ids=["a commit", "no checkout"])
def test_an_image_is_as_old_as_its_commit(settings: Settings, committed: str) -> None:
    tree = Tree(source=Path("/src"), folder=Path("/copy"), committed=committed)

    labels = build.plan(settings, tree, VARIABLES).labels

    assert labels.get("org.opencontainers.image.created", "") == committed
    assert labels["org.opencontainers.image.revision"] == COMMIT


def test_a_release_is_the_same_image_as_its_commit(settings: Settings) -> None:
    """What the image says of its version stays true whichever tags it gets."""
    tree = Tree(source=Path("/src"), folder=Path("/copy"), committed="2024")

    released = build.plan(settings, tree, replace(VARIABLES, tag_name="v1"))
    plain_one = build.plan(settings, tree, VARIABLES)

    assert released.tags == [*plain_one.tags, "r.example/lookit:v1"]
    assert replace(released, tags=[]) == replace(plain_one, tags=[])
    assert released.labels["org.opencontainers.image.version"] == COMMIT


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("NPM_TOKEN", "x", True),
        ("dbPassword", "x", True),
        ("API_KEY", "x", True),
        ("DEPLOY_KEY_2", "x", True),
        ("BASIC_AUTH", "x", True),
        ("PIP_INDEX_URL", "https://me:canary@pypi.example/simple", True),
        ("SETTINGS", "-----BEGIN RSA PRIVATE KEY-----", True),
        ("PUBLIC_KEY_ID", "x", False),
        ("TOKENIZERS", "2", False),
        ("AUTHOR", "x", False),
        ("KEYBOARD", "x", False),
        ("PIP_INDEX_URL", "https://pypi.example:8443/simple/a@1", False),
    ],
)
def test_a_build_argument_that_looks_secret_is_refused(
    engine: DockerProgram, settings: Settings, source: Path, name: str, value: str, secret: bool
) -> None:
    """`docker history` shows it.  One name is spared by `guard.open_keys`."""
    told_to = structs.replace(settings.build, arguments={name: value})
    guard = structs.replace(settings.guard, open_keys=["PUBLIC_KEY_ID"])
    settings = structs.replace(settings, build=told_to, guard=guard)
    tries = (
        lambda: build.build(settings, plain(source), VARIABLES),
        lambda: test_run.build_image(settings, plain(source), VARIABLES, "Dockerfile.test"),
    )

    for attempt in tries:
        with pytest.raises(UsageError) if secret else nullcontext() as refused:
            attempt()
        if refused:
            assert refused.value.what == f"build.arguments has what looks secret: {name}."
            assert f"--mount=type=secret,id={name}" in refused.value.next_step
            assert value not in (refused.value.what + refused.value.why) or value == "x"
    told = [line for line in engine.asked if f"--build-arg {name}={value}" in line]
    assert len(told) == (0 if secret else 2)


def with_secret(settings: Settings, file: Path) -> Settings:
    return structs.replace(settings, build=structs.replace(settings.build, secrets={"npm": str(file)}))


def test_a_build_secret_is_passed_to_buildkit_as_a_file(
    engine: DockerProgram, settings: Settings, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("canary")
    settings = with_secret(settings, tmp_path / "token")

    build.build(settings, plain(source), VARIABLES)
    test_run.build_image(settings, plain(source), VARIABLES, "Dockerfile.test")

    builds = [line for line in engine.asked if line.startswith("buildx build")]
    assert len(builds) == 2
    assert all(f"--secret id=npm,src={tmp_path}/token " in line for line in builds)
    assert "canary" not in "".join(engine.asked)


def test_the_classic_builder_says_that_it_has_no_secrets(
    engine: DockerProgram, settings: Settings, source: Path, tmp_path: Path
) -> None:
    engine.answers(*CLASSIC)
    (tmp_path / "token").touch()

    with pytest.raises(Failure) as failure:
        build.build(with_secret(settings, tmp_path / "token"), plain(source), VARIABLES)

    assert failure.value.what == "The classic builder cannot give a build secrets: npm."
    assert not [line for line in engine.asked if line.startswith("build ")]


def test_a_build_secret_may_not_be_in_the_context(
    engine: DockerProgram, settings: Settings, source: Path, tmp_path: Path
) -> None:
    (source / "token").touch()
    (tmp_path / "link").symlink_to(source)

    with pytest.raises(UsageError) as error:
        build.build(with_secret(settings, tmp_path / "link" / "token"), plain(source), VARIABLES)

    assert error.value.what == f"build.secrets names files in the checkout: npm ({source}/token)."


def test_a_build_s_secret_without_its_file_is_named(
    engine: DockerProgram, settings: Settings, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        build.build(with_secret(settings, tmp_path / "gone"), plain(source), VARIABLES)

    assert error.value.what == f"build.secrets names files that are missing: npm ({tmp_path}/gone)."


@pytest.mark.parametrize(
    ("committed", "others", "expected"),
    [
        ("2024", [], "commit"), ("2024", ["new"], "commit with uncommitted changes"),
        ("", [], "folder without git"),
    ],
    ids=["clean", "changed", "no checkout"],
)  # fmt: skip
def test_a_label_says_what_an_image_was_built_from(
    settings: Settings, committed: str, others: list[str], expected: str
) -> None:
    tree = Tree(source=Path("/src"), folder=Path("/src"), committed=committed, others=others)

    assert build.plan(settings, tree, VARIABLES).labels["org.lookit.built-from"] == expected


SHOWS = """#!/bin/sh
for folder; do :; done
case "$*" in
*build*--file*) find "$folder" -type f ! -path "*/.git/*" | sed "s,$folder/,," >"$0.context"; echo "$*" >"$0.log";;
esac
"""


@pytest.mark.parametrize("content", [committed, worktree])
def test_the_image_holds_the_commit_or_all_files_on_purpose(
    engine: DockerProgram, settings: Settings, tmp_path: Path, content: Any
) -> None:
    """What git ignores is not committed, so an .env beside the code is not in the image."""
    made = sample(tmp_path / "checkout")
    (made.folder / ".env").write_text("SECRET_KEY=x")
    (made.folder / "new").touch()
    program = engine.folder / "docker"
    program.write_text(SHOWS)

    with content(made.folder, made.head) as tree:
        build.build(settings, tree, replace(VARIABLES, commit_sha=made.head))

    context = Path(f"{program}.context").read_text().split()
    assert "manage.py" in context
    assert ({".env", "new"} <= set(context)) is (content is worktree)
    expected = CHANGED if content is worktree else CLEAN
    assert f"{build.BUILT_FROM}={expected} " in Path(f"{program}.log").read_text()


@pytest.mark.parametrize(
    ("branch", "tags"), [("develop", ["develop"]), ("feature/x", ["feature-x"]), ("detached", []), ("-", [])]
)
def test_the_branch_s_tag_follows(settings: Settings, branch: str, tags: list[str]) -> None:
    found = build.following(settings, replace(VARIABLES, branch_name=branch))

    assert [name.tag for name in found] == tags


def test_a_test_image_that_cannot_be_built_names_its_file(
    engine: DockerProgram, settings: Settings, source: Path
) -> None:
    engine.answers(Says("buildx build *", err="no such instruction", code=3))

    with pytest.raises(Failure) as failure:
        test_run.build_image(settings, plain(source), VARIABLES, "Dockerfile.test")

    made = f"lookit-test:{COMMIT[:7]} from {source}/Dockerfile.test"
    assert failure.value.what == f"The image could not be built: {made}."
    assert failure.value.why == "`docker buildx build …` exited with 3; its output is above."


@pytest.mark.parametrize("code", [125, 126, 127])
def test_a_test_suite_that_never_started_is_not_failed(code: int) -> None:
    failure = test_run.SuiteFailed(code, ["python", "manage.py", "test"])

    assert failure.exit_code == code
    assert failure.what == f"The application's tests could not be started: docker exited with {code}."
    assert "test.command" in failure.next_step


def test_a_database_whose_image_cannot_be_had_names_the_setting(
    engine: DockerProgram, settings: Settings
) -> None:
    engine.answers(Says("run *", err="Unable to find image", code=125))

    with pytest.raises(Failure) as failure, test_run.database(settings, "base", {}):
        pass

    assert failure.value.what == f"The test database {settings.test.database_image} could not be started."
    assert failure.value.why == "Unable to find image"
    assert "test.database_image" in failure.value.next_step
    assert engine.asked[-1] == "rm --force --volumes base-database"


def test_a_database_that_accepts_nobody_in_time_is_given_up(
    engine: DockerProgram, settings: Settings
) -> None:
    engine.answers(
        Says("exec *", code=1), Says("inspect *", "true\n"), Says("logs *", "starting\n", "still starting\n")
    )

    with pytest.raises(TimedOut) as failure:
        test_run.wait_for_database(settings, "base-database")

    assert failure.value.what == "The test database accepted no connection within 0.01 s."
    assert failure.value.why == "starting\nstill starting"
    assert "time_limits.database_ready" in failure.value.next_step


def test_a_database_is_asked_until_it_accepts(
    engine: DockerProgram,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(test_run, "SECONDS_BETWEEN_QUESTIONS", 0.0)
    time_limits = structs.replace(settings.time_limits, database_ready=60.0)
    patient = structs.replace(settings, time_limits=time_limits)
    engine.answers(Says("exec *", code=1, again=Says("exec *")), Says("inspect *", "true\n"))

    test_run.wait_for_database(patient, "base-database")

    assert [line.partition(" ")[0] for line in engine.asked] == ["exec", "inspect", "exec"]
    assert capsys.readouterr().err.startswith("The database accepts connections after ")


def test_only_what_ended_runs_left_is_removed(
    engine: DockerProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, here = 2**22 + 1, test_run.here()
    engine.answers(
        Says("ps *", f"mine {here}:{gone}\nrunning {here}:1\nother elsewhere:{gone}\nodd {here}:x\n"),
        Says(
            "network ls *", f"net {here}:{gone} 1\nlong-over elsewhere:1 1\nyet-to-end elsewhere:1 {2**40}\n"
        ),
        Says("rm *", err="Error: No such container: mine", code=1),
        Says("network rm net", err="Error: network net has active endpoints", code=1),
    )

    assert test_run.sweep(60) == ["mine", "net", "long-over"]

    assert [line for line in engine.asked if " rm " in f" {line} "] == [
        "rm --force --volumes mine", "network rm net", "network rm long-over",
    ]  # fmt: skip
    assert capsys.readouterr().err == (
        "Warning: `docker network rm net` failed, so it is still there: "
        "Error: network net has active endpoints\n"
    )


@pytest.fixture
def pushing_to(held: MemoryRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(push, "FIRST_PAUSE", 0.0)
    return Reference(held.address, "lookit", COMMIT)


REVISION = {"org.opencontainers.image.revision": COMMIT}
DIRTY = {build.BUILT_FROM: CHANGED}


def built(labels: object) -> tuple[Says, Says]:
    """An engine that has an image with these labels."""
    return Says("*json .Config.Labels*", json.dumps(labels)), Says("image inspect *", "sha256:mine\n")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({**REVISION, **DIRTY}, f"Its labels name commit {COMMIT} with uncommitted changes."),
        ({"org.opencontainers.image.revision": "d" * 40}, f"Its labels name commit {'d' * 40}."),
        (None, "Its labels name no commit."),
    ],
    ids=["uncommitted changes", "another commit", "no labels"],
)
@pytest.mark.parametrize("options", [{}, {"reuse": True}], ids=["push", "push --reuse"])
def test_an_image_of_another_commit_is_not_pushed(
    engine: DockerProgram, settings: Settings, pushing_to: Reference, labels: object, why: str,
    options: dict[str, bool],
) -> None:  # fmt: skip
    engine.answers(*built(labels))

    with pytest.raises(UsageError) as refused:
        push.push(settings, [pushing_to], [], **options)

    assert refused.value.what == f"{pushing_to} is not the commit's image."
    assert refused.value.why == why
    assert not [line for line in engine.asked if line.startswith("push")]


def test_a_pushed_build_of_uncommitted_changes_is_not_reused(
    engine: DockerProgram, settings: Settings, pushing_to: Reference, held: MemoryRegistry
) -> None:
    held.image("lookit", "layer", COMMIT, config={"Labels": {**REVISION, **DIRTY}})
    engine.answers(*built(REVISION))

    with pytest.raises(UsageError) as refused:
        push.push(settings, [pushing_to], [], reuse=True)

    assert (
        refused.value.what == f"{pushing_to} in the registry is not the commit's image, so it is not reused."
    )


def test_the_pushed_image_of_a_commit_is_reused(
    engine: DockerProgram, settings: Settings, pushing_to: Reference, held: MemoryRegistry
) -> None:
    clean = {build.BUILT_FROM: CLEAN}
    digest = held.image("lookit", "layer", COMMIT, config={"Labels": {**REVISION, **clean}})
    engine.answers(*built({**REVISION, **DIRTY}))

    assert push.push(settings, [pushing_to], [], reuse=True).digest == digest


FAULT = Says("push *", err="layer 1: pushed\nreceived unexpected HTTP status: 503", code=1)


def test_where_nothing_may_leave_this_machine_nothing_is_pushed(engine: DockerProgram) -> None:
    closed = checked_in_settings(registry={"elsewhere": False})
    main = parse(f"gcr.io/mit-lookit/lookit:{COMMIT}")

    with pytest.raises(UsageError) as refused:
        push.push(closed, [main], [])

    assert refused.value.what == f"{main.name} is not changed: with --sandbox nothing leaves this machine."
    assert "INVOKE_SANDBOX_REGISTRY" in refused.value.next_step
    assert engine.asked == []


def test_a_push_that_the_registry_never_lists_is_no_success(
    engine: DockerProgram, settings: Settings, pushing_to: Reference
) -> None:
    engine.answers(*built(REVISION))

    with pytest.raises(Failure) as failure:
        push.push(settings, [pushing_to], [])

    assert failure.value.what == f"{pushing_to} was pushed, but the registry does not list it."
    assert engine.asked[-1] == f"push --quiet {pushing_to}"


def test_a_temporary_failure_is_reported_and_retried(
    engine: DockerProgram, settings: Settings, pushing_to: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers(replace(FAULT, again=Says("push *")))

    push.push_name(settings, pushing_to)

    assert len(engine.asked) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"Pushing {pushing_to} …",
        "The push failed (received unexpected HTTP status: 503), trying again …",
    ]


def test_each_attempt_has_a_token_of_its_own(
    engine: DockerProgram, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before may have run out meanwhile: an attempt may take as long as a token lasts."""
    given: list[str] = []

    def google_login(_: object) -> Login:
        given.append(f"token-{len(given)}")
        return Login("oauth2accesstoken", Secret(given[-1].encode()))

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "contexts").mkdir()
    monkeypatch.setattr("tasks.lib.image.credentials.google_login", google_login)
    monkeypatch.setattr(push, "FIRST_PAUSE", 0.0)
    engine.answers(replace(FAULT, again=Says("push *")))

    push.push_name(settings, parse(f"gcr.io/mit-lookit/lookit:{COMMIT}"))

    assert given == ["token-0", "token-1"]


def test_pushes_are_retried_as_often_as_set(
    engine: DockerProgram, settings: Settings, pushing_to: Reference
) -> None:
    engine.answers(FAULT)

    with pytest.raises(Failure) as failure:
        push.push_name(settings, pushing_to)

    assert failure.value.what == f"{pushing_to} could not be pushed."
    attempts = [line for line in engine.asked if line.startswith("push")]
    assert len(attempts) == settings.registry.push_attempts > 1


def test_a_push_that_is_denied_is_not_tried_again(
    engine: DockerProgram, settings: Settings, pushing_to: Reference
) -> None:
    engine.answers(Says("push *", err="denied: requested access to the resource is denied", code=1))

    with pytest.raises(Failure, match="could not be pushed"):
        push.push_name(settings, pushing_to)

    assert [line.partition(" ")[0] for line in engine.asked] == ["push", "version"]
