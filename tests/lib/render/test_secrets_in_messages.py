"""What kustomize says about a secret file never reaches a person with a value in it."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.render.rendering import Rendered, render
from tests.builders import settings_in

VARIABLES = BuildVariables(
    commit_sha="a" * 40, branch_name="develop", tag_name="v1", repo_name="api", build_id="7"
)
VALUE = "correct horse battery staple"
KUSTOMIZATION = "secretGenerator:\n- {name: s, envs: [secrets/plain.%s]}\n"


def built(root: Path, name: str, content: bytes, objects: str = "") -> Rendered:
    (root / "kubernetes/o/secrets").mkdir(parents=True)
    (root / "kubernetes/o/objects.yaml").write_text(objects)
    resources = "resources: [objects.yaml]\n" if objects else ""
    (root / "kubernetes/o/kustomization.yaml").write_text(KUSTOMIZATION % name.split(".")[1] + resources)
    staging = {"overlay": "o", "secrets": {"plaintexts": "o/secrets"}}
    settings = settings_in(root, {"environments": {"staging": staging}})
    return render(settings, settings.environment("staging"), VARIABLES, {name: Secret(content)})


def test_an_invalid_env_file_is_refused_before_kustomize_quotes_it(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        built(tmp_path, "plain.env", b"A=1\ncanary-line\ncanary-line\n")
    assert refused.value.what == "plain.env is not valid, so nothing was rendered."
    assert "canary" not in str(refused.value)


def test_an_unknown_file_is_masked_in_kustomize_s_messages(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        built(tmp_path, "plain.txt", b"A=1\ncanary-line\ncanary-line\n")
    assert "illegally repeats the key `[redacted]`" in refused.value.why


@pytest.mark.parametrize(
    "form", [str, lambda text: base64.b64encode(f"x{text}".encode()).decode()], ids=["plain", "base64"]
)
@pytest.mark.parametrize("source", ["a file", "a Secret of the tree"])
def test_what_the_schema_refuses_is_masked(tmp_path: Path, form: Callable[[str], str], source: str) -> None:
    service = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{port: '{form(VALUE)}'}}]}}\n"
    secret = f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: t}}\nstringData: {{password: {VALUE}}}\n"
    value, objects = (VALUE, service) if source == "a file" else ("else", service + secret)
    rendered = built(tmp_path, "plain.env", f"PASSWORD={value}\n".encode(), objects)
    with pytest.raises(Failure) as refused:
        rendered.validate("1.36")
    assert re.match(r"Service s: spec\.ports\.0\.port: '.?\[redacted\]' is not", refused.value.why)


@pytest.mark.parametrize(
    "form", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["plain", "base64"]
)
def test_what_kustomize_quotes_of_the_tree_is_masked(tmp_path: Path, form: Callable[[str], str]) -> None:
    objects = f"apiVersion: v1\nkind: '{form(VALUE)}'\nmetadata: {{name: a}}\n"
    with pytest.raises(Failure) as refused:
        built(tmp_path, "plain.env", f"PASSWORD={VALUE}\n".encode(), objects + "---\n" + objects)
    assert "[redacted]" in refused.value.why
    assert form(VALUE) not in str(refused.value)


def test_names_of_files_and_objects_stay_readable(tmp_path: Path) -> None:
    """A value that stands in the names of everything would be told by what is missing there."""
    objects = "apiVersion: v1\nkind: Service\nmetadata: {name: lookit-web}\nspec: {ports: [{port: x}]}\n"
    rendered = built(tmp_path, "plain.env", b"DB_NAME=lookit\nPASSWORD=lookit\n", objects)
    with pytest.raises(Failure) as refused:
        rendered.validate("1.36")
    assert refused.value.why.startswith("Service lookit-web: spec.ports.0.port: 'x' is not")
