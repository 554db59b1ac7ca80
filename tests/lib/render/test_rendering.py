"""Rendering trees with the real kustomize, another project's tree among them."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.redaction import Secret
from tasks.lib.render import kustomize
from tasks.lib.render.rendering import render
from tasks.lib.settings.model import Settings
from tasks.lib.workspace import PREFIX, memory_folder
from tests.builders import checked_in_settings

VARIABLES = BuildVariables(
    commit_sha="a" * 40, branch_name="develop", tag_name="v1", repo_name="api", build_id="7"
)

# Another way to lay out a tree: deprecated fields, vars, templates, and secrets beside the overlay.
FOREIGN = {
    "k8s/common/kustomization.yaml": """
resources: [deployment.yaml, service.yaml]
vars:
- name: WEB_SERVICE
  objref: {apiVersion: v1, kind: Service, name: web}
commonLabels: {app: foreign}
""",
    "k8s/common/deployment.template.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {tier: web}}
  template:
    metadata: {labels: {tier: web}}
    spec:
      containers:
      - name: web
        image: ${IMAGE_REPOSITORY}:$COMMIT_SHA
        args: ["--service=$(WEB_SERVICE)", "--cost=$$5"]
""",
    "k8s/common/service.yaml": """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
""",
    "k8s/envs/qa/kustomization.yaml": """
bases: [../../common]
namePrefix: qa-
secretGenerator:
- name: passwords
  envs: [passwords.env]
""",
}


@pytest.fixture
def settings() -> Settings:
    return checked_in_settings()


@pytest.fixture
def foreign(settings: Settings, tmp_path: Path) -> Settings:
    """The same settings, pointed at a tree that is laid out otherwise."""
    for name, text in FOREIGN.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    staging = settings.environment("staging")
    other = replace(staging, overlay="envs/qa", secrets=replace(staging.secrets, plaintexts="envs/qa"))
    return replace(
        settings,
        root=tmp_path,
        kustomize=replace(settings.kustomize, tree="k8s"),
        environments={"staging": other},
    )


SECRETS = {"passwords.env": Secret(b"PASSWORD=canary-value\n")}


def test_a_foreign_tree_renders_through_settings_alone(foreign: Settings) -> None:
    rendered = render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)

    by_title = {document.title.split("-passwords")[0]: document.content for document in rendered.documents}
    container = by_title["Deployment qa-web"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"gcr.io/mit-lookit/lookit:{'a' * 40}"
    assert container["args"] == ["--service=qa-web", "--cost=$5"]
    assert by_title["Secret qa"]["data"] == {"PASSWORD": "Y2FuYXJ5LXZhbHVl"}
    assert any("deprecated" in warning for warning in rendered.warnings)


def test_a_tree_without_objects_is_an_error(foreign: Settings) -> None:
    (foreign.tree / "envs/qa/kustomization.yaml").write_text("namePrefix: qa-\nresources: []\n")

    with pytest.raises(Failure, match=r"The tree of staging holds no object\.") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)
    assert "envs/qa" in caught.value.why


def test_plaintext_never_leaves_the_copy_through_a_link(foreign: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (foreign.tree / "envs/qa").rename(elsewhere)
    (foreign.tree / "envs/qa").symlink_to(elsewhere)

    with pytest.raises(Failure, match="is a link out of the tree") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)
    assert str(elsewhere) in caught.value.why
    assert not (elsewhere / "passwords.env").exists()


@pytest.mark.parametrize(
    "text",
    [
        "resources: [../../../shared]",
        "resources: [../../../shared/thing.yaml]",
        "bases: [../../../shared]",
        "resources: [../../common]\npatches: [{path: ../../../shared/thing.yaml}]",
        "configMapGenerator: [{name: x, files: [thing=../../../shared/thing.yaml]}]",
    ],
    ids=["a base", "a file", "an old base", "a patch", "a file under another name"],
)
def test_a_reference_out_of_the_tree_is_named_as_written(
    foreign: Settings, tmp_path: Path, text: str
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "thing.yaml").write_text("a: b")
    (tmp_path / "shared" / "kustomization.yaml").write_text("resources: [thing.yaml]")
    (foreign.tree / "envs/qa/kustomization.yaml").write_text(text)

    with pytest.raises(Failure, match=r"kustomize could not build envs/qa\.") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)

    assert caught.value.why.startswith("envs/qa/kustomization.yaml names ../../../shared")
    assert caught.value.why.endswith(f", outside the tree {foreign.tree}; only the tree is built.")
    assert "Move it into the tree" in caught.value.next_step
    assert PREFIX not in str(caught.value)


@pytest.mark.parametrize("name", ["envs/qa/link", "envs/qa/link.yaml", "envs/linked"])
def test_a_link_out_of_the_tree_is_named(foreign: Settings, tmp_path: Path, name: str) -> None:
    (tmp_path / "shared").mkdir()
    (foreign.tree / name).symlink_to("../" * (name.count("/") + 1) + "shared")
    (foreign.tree / "envs/qa/kustomization.yaml").write_text(f"resources: [{Path(name).name}]")
    staging = foreign.environment("staging")
    place = replace(staging, overlay=name) if name == "envs/linked" else staging

    with pytest.raises(Failure, match=r"kustomize could not build envs/") as caught:
        render(foreign, place, VARIABLES, SECRETS)

    assert caught.value.why.startswith(f"{name} is a link to ../")
    assert PREFIX not in str(caught.value)


def test_references_outside_the_tree_are_blamed_only_for_their_errors(
    foreign: Settings, tmp_path: Path
) -> None:
    (foreign.tree / "common/link").symlink_to("../../shared")
    (foreign.tree / "envs/qa/kustomization.yaml").write_text("resources: [../../common, missing.yaml]")

    with pytest.raises(Failure, match=r"kustomize could not build envs/qa\.") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)

    assert "missing.yaml" in caught.value.why
    assert "a link" not in caught.value.why


def test_two_renders_are_identical_and_the_tree_is_untouched(foreign: Settings) -> None:
    before = _contents(foreign.root)
    renders = [render(foreign, foreign.environment("staging"), VARIABLES, SECRETS) for _ in range(2)]

    assert renders[0].documents == renders[1].documents
    assert _contents(foreign.root) == before


def test_plaintext_in_the_tree_is_not_rendered(foreign: Settings) -> None:
    (foreign.tree / "envs/qa/passwords.env").write_text("PASSWORD=stale\n")

    rendered = render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)

    secret = next(d for d in rendered.documents if d.content["kind"] == "Secret")
    assert secret.content["data"] == {"PASSWORD": "Y2FuYXJ5LXZhbHVl"}


def test_errors_of_kustomize_hide_workspace_paths(foreign: Settings) -> None:
    with pytest.raises(Failure, match=r"kustomize could not build envs/qa\.") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, {})

    assert "passwords.env" in caught.value.why
    assert PREFIX not in str(caught.value)
    assert "canary" not in str(caught.value)
    assert list(memory_folder().glob(f"{PREFIX}{os.getpid()}-*")) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tree": "absent"}, "The kustomize tree does not exist."),
        ({}, "The overlay of staging does not exist."),
    ],
    ids=["tree", "overlay"],
)
def test_a_missing_folder_names_the_setting(foreign: Settings, change: dict[str, str], what: str) -> None:
    place = replace(foreign.environment("staging"), overlay="envs/none")
    broken = replace(foreign, kustomize=replace(foreign.kustomize, **change))

    with pytest.raises(Failure) as caught:
        render(broken, place, VARIABLES, SECRETS)
    assert caught.value.what == what
    assert "invoke.yaml" in caught.value.next_step


def test_an_undeclared_variable_names_file_and_line(foreign: Settings) -> None:
    (foreign.tree / "envs/qa/x.template.yaml").write_text("a: 1\nb: $HOME\n")

    with pytest.raises(UsageError, match="Templates cannot be filled in") as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)
    assert "envs/qa/x.template.yaml:2: $HOME is not declared" in caught.value.why


def test_the_command_is_exact(settings: Settings) -> None:
    assert kustomize.build_argv("kubectl", Path("/w/o"), "--enable-helm --x 'a b'") == (
        "kubectl", "kustomize", "--enable-helm", "--x", "a b", "/w/o",
    )  # fmt: skip
    named = replace(settings, kustomize=replace(settings.kustomize, kubectl="/opt/kubectl"))
    assert kustomize.kubectl(named) == "/opt/kubectl"
    assert Path(kustomize.kubectl(settings)).name == "kubectl"


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_cannot_be_copied_is_named(foreign: Settings) -> None:
    os.mkfifo(foreign.tree / "pipe")

    with pytest.raises(Failure) as caught:
        render(foreign, foreign.environment("staging"), VARIABLES, SECRETS)

    assert caught.value.what == f"The kustomize tree cannot be copied to {memory_folder()}."
    assert caught.value.why == f"`{foreign.tree}/pipe` is a named pipe"


def test_a_render_that_takes_too_long_says_its_limit(foreign: Settings) -> None:
    hasty = replace(foreign, time_limits=replace(foreign.time_limits, render=0.01))

    with pytest.raises(TimedOut) as caught:
        render(hasty, hasty.environment("staging"), VARIABLES, SECRETS)

    assert caught.value.why == "It did not finish within 0.01 s and was stopped."
    assert "time_limits.render" in caught.value.next_step
