"""Keys that are expected in a secret file, and keys that are there."""

from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets.dotenv import Finding, Weight
from tasks.lib.secrets.expected import Comparison, compare, expected_keys, findings_in
from tasks.lib.secrets.files import SecretFile, secret_files
from tests.builders import settings_in

FOLDER = Path("kubernetes/overlays/staging/secrets")


def file(root: Path, name: str) -> SecretFile:
    settings = settings_in(root, {})
    (found,) = [f for f in secret_files(settings, settings.environment("staging")) if f.name == name]
    return found


@pytest.mark.parametrize(
    ("name", "content", "keys"),
    [
        ("lookit-secrets.env", "A=\nB=\n", ["A", "B"]),
        ("googleAppCreds.json", '{"type": "", "project_id": ""}', ["type", "project_id"]),
    ],
)
def test_expected_keys_come_from_the_list_beside_the_file(
    tmp_path: Path, name: str, content: str, keys: list[str]
) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / f"{name}.expected").write_text(content)
    assert expected_keys(file(tmp_path, name)) == keys


def test_without_a_list_nothing_is_expected(tmp_path: Path) -> None:
    assert expected_keys(file(tmp_path, "lookit-secrets.env")) is None


def test_a_list_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "lookit-secrets.env.expected").write_text("A=\nA=\n")
    with pytest.raises(Failure, match="lookit-secrets.env.expected is not valid"):
        expected_keys(file(tmp_path, "lookit-secrets.env"))


def test_keys_missing_and_unexpected_are_told_apart() -> None:
    assert compare(["A", "B", "C"], ["C", "D", "A"]) == Comparison(missing=("B",), unexpected=("D",))


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b'{"a": "canary"', Finding(1, "no JSON: Expecting ',' delimiter at column 15", Weight.FAULT)),
        (b'["canary"]', Finding(0, "a JSON value, but no object", Weight.FAULT)),
        (b'{"key": ""}', Finding(0, "key is empty", Weight.DOUBT)),
        (b'{"key": "\xff"}', Finding(0, "no UTF-8, so no JSON", Weight.FAULT)),
    ],
)
def test_a_doubtful_json_file_is_described_without_its_values(content: bytes, finding: Finding) -> None:
    assert findings_in("x.json", Secret(content)) == [finding]
