"""Reading one settings file: what is valid YAML but refused in settings."""

from pathlib import Path

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.settings.files import read_file, refuse_missing


def test_sections_are_read_and_merged(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("base: &base {zone: a, cluster: b}\nstaging:\n  <<: *base\n  cluster: c\n")

    assert read_file(file)["staging"] == {"zone": "a", "cluster": "c"}


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing\n")

    assert read_file(file) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: 1\nb: 2\na: 3\n", "a is given twice"),
        (b"a:\n  cluster: x\n  cluster: y\n", "cluster is given twice"),
        (b"a:\n  12: x\n", "12 is not a string; put it in quotes"),
        (b"a:\n  on: x\n", "on is not a string; put it in quotes"),
        (b"a:\n\tb: 1\n", "line 2, column 1"),
        (b"a: [\n", "line 2, column 1"),
        (b"- a\n", "It holds a list, not sections with keys."),
        (b"hello\n", "It holds a str, not sections with keys."),
        (b"# \xff\n", "can't decode byte 0xff"),
    ],
    ids=["key twice", "key twice within", "number", "switch", "tab", "open", "list", "text", "no UTF-8"],
)
def test_invalid_content_is_refused_with_its_place(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_file(file)

    assert caught.value.what == f"The settings in {file} cannot be read."
    assert why in caught.value.why
    assert caught.value.next_step == "Fix that file, then run this again."


def test_a_folder_is_refused_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_file(tmp_path)
    assert caught.value.why == "Is a directory."


def test_a_repeated_key_is_refused_in_json_too(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"kms": {"project": "a", "project": "b"}}')

    with pytest.raises(UsageError) as caught:
        read_file(file)

    assert caught.value.why == "project is given twice"


def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{\n\t"kms": {"project": "a"}\n}\n')

    assert read_file(file) == {"kms": {"project": "a"}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("image:\n  # repository: x\n", "- image is None, but should be a section with keys."),
        ("time_limits: 5s", "- time_limits is '5s', but should be a section with keys."),
        ("environments:", "- environments is None, but should be a mapping."),
        ("environments: {staging: }", "- environments.staging is None, but should be a section with keys."),
        ("kms: {project: {name: x}}", "- kms.project is {'name': 'x'}, but should be a string."),
    ],
    ids=["all commented out", "a value", "no environment", "an empty environment", "keys for a value"],
)
def test_a_section_in_place_of_a_value_is_refused(tmp_path: Path, content: str, why: str) -> None:
    """Invoke cannot merge them: it ended in a traceback that showed all settings."""
    file = tmp_path / "settings.yaml"
    file.write_text(content)

    with pytest.raises(UsageError) as caught:
        read_file(file)

    assert caught.value.what == f"The settings in {file} are not valid."
    assert caught.value.why == why


def test_other_problems_of_a_file_are_left_to_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("kms: {project: 5, colour: red}\nothers: 1\nenvironments: {staging: {zone: }}\n")

    assert read_file(file)["kms"] == {"project": 5, "colour": "red"}


def test_a_circular_link_is_not_a_settings_file(tmp_path: Path) -> None:
    circle = tmp_path / "circle.yaml"
    circle.symlink_to(circle)

    with pytest.raises(UsageError, match="is not a settings file"):
        refuse_missing(str(circle))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.yaml", '{"a": ' + "[" * 2_000 + "]" * 2_000 + "}"),
        ("deep.json", '{"a": ' + "[" * 2_000 + "]" * 2_000 + "}"),
        ("deeper.json", '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}"),
        ("loop.yaml", "kms: &k\n  more: *k\n"),
    ],
)
def test_deep_nesting_is_refused(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)

    with pytest.raises(UsageError, match="nested more than 100 levels deep, or contains itself"):
        read_file(file)
