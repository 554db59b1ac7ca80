"""How a value gets in."""

import getpass
import sys

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.redaction import Secret
from tasks.lib.secrets.edit import from_stdin, key_and_value, refuse_short


@pytest.mark.parametrize(
    ("given", "in_history", "key", "value"),
    [
        ("NAME", False, "NAME", None),
        ("NAME=-", False, "NAME", None),
        ("NAME=a=b", True, "NAME", Secret(b"a=b")),
        ("NAME=", True, "NAME", Secret(b"")),
        ("NAME=\udcff", True, "NAME", Secret(b"\xff")),  # a byte that is no text, as Python passes it on
    ],
)
def test_name_and_value_are_split(given: str, *, in_history: bool, key: str, value: Secret | None) -> None:
    assert key_and_value(given, in_history) == (key, value)


def test_a_value_on_the_command_line_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        key_and_value("NAME=canary", False)
    assert refused.value.what == "The value of NAME is on the command line."
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (EOFError(), "No value was given for NAME, so nothing was changed."),
        (
            UnicodeDecodeError("utf-8", b"canary\xe9", 6, 7, "unexpected end of data"),
            "The value typed for NAME is not UTF-8 text, so nothing was changed.",
        ),
    ],
    ids=["Ctrl-D", "Latin-1"],
)
def test_an_invalid_value_at_the_prompt_is_explained(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    def ask(prompt: str) -> str:
        assert prompt == "NAME: "
        raise raised

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", ask)

    with pytest.raises(UsageError) as refused:
        from_stdin("NAME")

    assert refused.value.what == said


@pytest.mark.parametrize("given", ["", "=canary"])
def test_no_key_is_bad_usage(given: str) -> None:
    with pytest.raises(UsageError) as refused:
        key_and_value(given, True)

    assert refused.value.what == "No key was named."


@pytest.mark.parametrize("value", [b"q", b"54321", "naïve".encode(), b" 54321 \n"])
def test_a_value_that_no_log_masks_is_refused(value: bytes) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_short("DB_PASSWORD", Secret(value), ["DB_NAME"])
    assert (
        refused.value.what
        == "The value for DB_PASSWORD is shorter than 6 characters, so nothing was changed."
    )
    assert refused.value.next_step.endswith("./inv secrets.set DB_PASSWORD --short")
    assert value.decode().strip() not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"), [("DB_PASSWORD", b"123456"), ("DB_NAME", b"db"), ("DB_PASSWORD", b"")],
    ids=["long enough", "an open key", "empty on purpose"],
)  # fmt: skip
def test_a_long_enough_value_is_accepted(key: str, value: bytes) -> None:
    refuse_short(key, Secret(value), ["DB_NAME"])
