"""Keys that are expected in a secret file, and keys that are there."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets import jsonfile
from tasks.lib.secrets.dotenv import Finding, Severity
from tasks.lib.secrets.expected import (
    compare,
    expected_keys,
    findings_in,
    lacking,
    read,
    refuse_emptied,
)
from tasks.lib.secrets.files import SecretFile, secret_files
from tests.builders import settings_in
from tests.characters import ANY

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


def test_a_plaintext_may_lack_keys_but_not_all_of_them(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    env = file(tmp_path, "lookit-secrets.env")
    refuse_emptied(env, Secret(b""))  # without a list nothing is expected

    (tmp_path / FOLDER / "lookit-secrets.env.expected").write_text("A=\nB=\n")
    refuse_emptied(env, Secret(b"B=1\n"))

    assert lacking(env, Secret(b"B=1\n")) == ["A"]
    with pytest.raises(
        Failure, match=r"lookit-secrets\.env holds no key at all, so nothing was encrypted"
    ) as caught:
        refuse_emptied(env, Secret(b"# all gone\n"))
    listed = tmp_path / FOLDER / "lookit-secrets.env.expected"
    assert caught.value.next_step.endswith(
        f"If it is meant to be empty, take the keys out of {listed} first."
    )


def test_keys_missing_and_unexpected_are_told_apart() -> None:
    found = {"C": "C", "oddKey": "the key on line 2", "A": "A"}
    assert compare(["A", "B", "C"], found) == (["B"], ["the key on line 2"])


def test_unusual_keys_are_named_the_same_on_every_line() -> None:
    expected = read("a.env", b"first=\nmixedCase=\n").shown
    found = read("a.env", b"mixedCase=1\nfirst=2\n").shown
    assert compare(list(expected), found) == ([], [])


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b'{"a": "canary"', Finding(1, "not JSON: Expecting ',' delimiter at column 15", Severity.ERROR)),
        (b'["canary"]', Finding(0, "JSON, but not an object", Severity.ERROR)),
        (b'{"a": "canary\0"}', Finding(1, "not JSON: a NUL byte at column 14", Severity.ERROR)),
        (
            b'{"a":\n"canary\t"}',
            Finding(2, "not JSON: Invalid control character at column 8", Severity.ERROR),
        ),
        (b"[" * 100_000, Finding(0, "not JSON: it is nested too deeply", Severity.ERROR)),
        pytest.param(
            b'{"a": ' + b"9" * 5000 + b"}",
            Finding(0, "a number of more than 4,300 digits", Severity.ERROR),
            id="a long number",
        ),
        ('{"key": "canary"}'.encode("utf-16"), Finding(0, "not UTF-8, so not JSON", Severity.ERROR)),
        (b'{\n"x": {"y": ""},\n"key":\n""}', Finding(3, "key is empty", Severity.WARNING)),
        (b'{\r\n"key": "canary"}', Finding(1, "ends in CR LF; they are kept", Severity.WARNING)),
        (
            b'\xef\xbb\xbf{"key": "canary"}',
            Finding(
                1,
                "begins with a byte order mark, which is kept and which few readers accept",
                Severity.WARNING,
            ),
        ),
        (
            b'{"key": "canary",\n "a": {"key": 1},\n "key": "canary"}',
            Finding(3, "key is there twice: it is on line 1 already", Severity.ERROR),
        ),
        (b'{"a": 1,\n"canaryKey/x": ""}', Finding(2, "the key on line 2 is empty", Severity.WARNING)),
        (b'{"a\\"b:{[": 1,\n"key": ""}', Finding(2, "key is empty", Severity.WARNING)),
        (b'{"key": "\xff"}', Finding(0, "not UTF-8, so not JSON", Severity.ERROR)),
    ],
)
def test_a_doubtful_json_file_is_described_without_its_values(content: bytes, finding: Finding) -> None:
    assert findings_in("x.json", Secret(content)) == [finding]
    assert "canary" not in str(finding)


# What might be taken for the end of a text or an object, or for another key; each choice costs some time.
TEXT = st.sampled_from(["", "a", '"', "\\", "\n", "{", "}", '": "', "\u2028", "\0"])
LEAF = st.sampled_from([None, True, -7, 1.5e300]) | TEXT
INNER = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(TEXT, LEAF, max_size=3)
JSON = LEAF | st.lists(INNER, max_size=3) | st.dictionaries(TEXT, INNER, max_size=3)


@given(held=st.dictionaries(st.text(ANY, max_size=6), JSON, max_size=6), indent=st.sampled_from([None, 0, 2]))
def test_every_key_of_any_object_is_found_on_its_line(held: dict[str, object], indent: int | None) -> None:
    text = json.dumps(held, indent=indent, ensure_ascii=False)
    members = jsonfile.parse(text.encode()).pairs
    assert [member.key for member in members] == list(held)
    lines = text.split("\n")
    for member in members:
        assert json.dumps(member.key, ensure_ascii=False) in lines[member.line - 1]
