"""What kustomize says about a secret file never reaches a person with a value in it."""

from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.render.kustomize import build
from tests.builders import settings_in

KUSTOMIZATION = "secretGenerator:\n- {name: s, envs: [secrets/plain.%s]}\n"


def built(root: Path, name: str, content: bytes) -> None:
    (root / "kubernetes/o/secrets").mkdir(parents=True)
    (root / "kubernetes/o/kustomization.yaml").write_text(KUSTOMIZATION % name.split(".")[1])
    staging = {"overlay": "o", "secrets": {"plaintexts": "o/secrets"}}
    settings = settings_in(root, {"environments": {"staging": staging}})
    (root / "work").mkdir()
    build(settings, settings.environment("staging"), {}, {name: Secret(content)}, root / "work")


def test_a_faulty_env_file_is_refused_before_kustomize_quotes_it(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        built(tmp_path, "plain.env", b"A=1\ncanary-line\ncanary-line\n")
    assert refused.value.what == "plain.env is not valid, so nothing was rendered."
    assert "canary" not in str(refused.value)


def test_a_file_that_is_none_of_ours_is_masked_in_what_kustomize_says(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        built(tmp_path, "plain.txt", b"A=1\ncanary-line\ncanary-line\n")
    assert "illegally repeats the key `[redacted]`" in refused.value.why
