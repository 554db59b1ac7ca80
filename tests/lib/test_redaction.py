"""Secrets never print."""

import pickle

import pytest

from tasks.lib.redaction import Secret, mask


@pytest.mark.parametrize(
    "formatted",
    [str, repr, "{}".format, "{!r}".format, "{:>40}".format, lambda secret: f"{secret}", lambda s: str([s])],
    ids=["str", "repr", "format", "conversion", "width", "f-string", "in a list"],
)
def test_a_secret_prints_as_redacted(formatted) -> None:  # type: ignore[no-untyped-def]
    shown = formatted(Secret(b"hunter2-canary"))

    assert "canary" not in shown
    assert "[redacted]" in shown


def test_a_secret_reveals_its_bytes_only_when_asked() -> None:
    assert Secret(b"\x00value").reveal() == b"\x00value"
    assert len(Secret(b"four")) == 4
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert len({Secret(b"a"), Secret(b"a")}) == 1


def test_a_secret_is_never_serialised() -> None:
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(Secret(b"value"))


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("password=abcdef12 ok", ["abcdef12"], "password=[redacted] ok"),
        ("abcdef123456", ["abcdef", "abcdef123456"], "[redacted]"),
        ("user admin", ["admin"], "user admin"),
        ("nothing here", [], "nothing here"),
    ],
    ids=["one value", "the longer of two first", "too short to blank out", "no secrets"],
)
def test_mask(text: str, secrets: list[str], shown: str) -> None:
    assert mask(text, secrets) == shown
