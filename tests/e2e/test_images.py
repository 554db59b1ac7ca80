"""Images in a real registry, listed, promoted and pruned beside a real cluster."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from tasks.lib.image import inventory
from tasks.lib.image.reference import parse
from tests.builders import ROOT, checked_in_settings
from tests.docker_services import RegistryProcess
from tests.lib.image.memory_registry import resolve_digest
from tests.sample_checkout import Sample, invoke, sample_apart
from tests.sandbox_case import Case, merged
from tests.screen import on_screen

pytestmark = [
    pytest.mark.docker,
    pytest.mark.e2e,
    pytest.mark.timeout(600, func_only=True),
]


def pushed(checkout: Sample, text: str, env: dict[str, str]) -> str:
    """Commit, build and push another version; returns its commit."""
    commit = checkout.commit(Dockerfile=f"FROM scratch\nCOPY manage.py /{text}\n")
    for task in ("build", "push"):
        record = ("--record", str(checkout.folder.parent / "image.json")) if task == "push" else ()
        done = invoke(task, "--source", str(checkout.folder), *record, **env)
        assert done.returncode == 0, done.stderr
    return commit


@pytest.fixture
def env(registry_process: RegistryProcess) -> dict[str, str]:
    return {"INVOKE_IMAGE_REPOSITORY": f"{registry_process.address}/staging/lookit"}


def test_images_are_listed_with_their_tags_and_commits(env: dict[str, str], tmp_path: Path) -> None:
    checkout = sample_apart(tmp_path / "lookit-api")
    first, second = pushed(checkout, "one", env), pushed(checkout, "two", env)

    done = invoke("images.list", "--json", **env)

    images = {image["commit"]: image for image in json.loads(done.stdout)}
    assert set(images) == {first, second}
    assert images[first]["tags"] == [first]
    assert images[second]["tags"] == sorted([second, "develop"])
    assert images[second]["size"] > 0
    assert second[:7] in invoke("images.list", **env).stderr


def test_promotion_by_digest_does_not_move_existing_tags(env: dict[str, str], tmp_path: Path) -> None:
    checkout = sample_apart(tmp_path / "lookit-api")
    first, second = pushed(checkout, "one", env), pushed(checkout, "two", env)
    home = env["INVOKE_IMAGE_REPOSITORY"]
    production = home.replace("staging", "production")

    done = invoke("images.promote", "--image", first, "--to", production, "--as", "live", **env)
    taken = invoke("images.promote", "--image", second, "--to", production, "--as", "live", **env)
    moved = invoke("images.promote", "--image", second, "--to", production, "--as", "live", "--move", **env)
    missing = invoke("images.promote", "--image", "nothing", "--to", production, **env)

    settings = checked_in_settings()
    assert done.stdout == f"{production}@{resolve_digest(settings, f'{home}:{first}')}\n"
    assert taken.returncode == 2
    assert "is another image already" in taken.stderr
    assert moved.stdout == f"{production}@{resolve_digest(settings, f'{production}:live')}\n"
    assert missing.returncode == 1
    assert f"The registry has no image {home}:nothing" in missing.stderr


@pytest.mark.parametrize(("answer", "goes"), [("n", False), ("y", True)])
def test_a_prune_shows_what_goes_and_asks(
    env: dict[str, str], environment: Case, tmp_path: Path, answer: str, *, goes: bool
) -> None:
    checkout = sample_apart(tmp_path / "lookit-api")
    first, second = pushed(checkout, "one", env), pushed(checkout, "two", env)
    argv = [sys.executable, "-m", "tasks", "-f", str(both_in_one(environment)), "images.prune", "--keep", "1"]

    with on_screen(argv, ROOT, environment.env(**env), columns=160) as screen:
        shown = screen.until(lambda lines: any("[y/N]" in line for line in lines))
        screen.type(f"{answer}\n")
        assert screen.end() == 0

    assert any(first in line and "older, and not in use" in line for line in shown)
    held = inventory.held(environment.settings, parse(env["INVOKE_IMAGE_REPOSITORY"]))
    assert {image.commit for image in held} == ({second} if goes else {first, second})


def both_in_one(environment: Case) -> Path:
    """Settings in which production is this test's corner too: a prune asks every environment's cluster."""
    corner = {**environment.values["environments"]["staging"], "cluster": "lookit-staging"}
    own = {
        "environments": {"production": corner},
        "sandbox": {"state": str(environment.sandbox.state.folder)},
    }
    file = environment.folder / "both.yaml"
    file.write_text(yaml.safe_dump(merged(environment.values, own)))
    return file


def test_a_prune_that_nobody_confirms_deletes_nothing(env: dict[str, str], tmp_path: Path) -> None:
    """Without a cluster to ask nothing is pruned at all: here none can be reached."""
    commit = pushed(sample_apart(tmp_path / "lookit-api"), "one", env)

    done = invoke(
        "images.prune", "--keep", "0", "--yes", **env,
        INVOKE_GOOGLE_CONTAINER="http://127.0.0.1:1", INVOKE_GOOGLE_CREDENTIALS_FILE="/nonexistent",
    )  # fmt: skip

    assert done.returncode == 1
    assert resolve_digest(checked_in_settings(), f"{env['INVOKE_IMAGE_REPOSITORY']}:{commit}")
