"""Secrets never print, and a Redactor knows them in every spelling."""

import base64
import json
import pickle
import random
import string
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.lib import redaction, spellings
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.printable import printable
from tasks.lib.redaction import HALVES, SHORTEST, Public, Redactor, Secret
from tests.canary import FORMS, Form, in_base64, is_shown
from tests.characters import ANY

# Each of its characters is escaped by some program, and both are long enough to be cut in the middle.
VALUES = ["P4ss \"w0rd\" <&> 'é'/+?x~=", "hunter2hunter2hunter2"]


@pytest.mark.parametrize(
    "formatted",
    [str, repr, "{}".format, "{!r}".format, "{:>40}".format, lambda secret: f"{secret}", lambda s: str([s])],
    ids=["str", "repr", "format", "conversion", "width", "f-string", "in a list"],
)
def test_a_secret_prints_as_redacted(formatted: Callable[[object], str]) -> None:
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
    ("text", "values", "shown"),
    [
        ("password=abcdef12 ok", ["abcdef12"], "password=[redacted] ok"),
        ("abcdef123456", ["abcdef", "abcdef123456"], "[redacted]"),
        ("abcdefghijkl", ["abcdefgh", "efghijkl"], "[redacted]"),
        ("user admin", ["admin"], "user admin"),
        ("nothing here", [], "nothing here"),
        ("a: 1\nabcdef12\n", ["abcdef12\n"], "a: 1\n[redacted]\n"),
        ("100% of C:\\new & <b> + a", ["abcdef12"], "100% of C:\\new & <b> + a"),
        ("…", ["abcdef12"], "…"),
    ],
    ids=[
        "one value", "the longer of two", "two that overlap", "too short to blank out", "no secrets",
        "a value with a line feed", "escapes of others stay", "nothing but a cut",
    ],
)  # fmt: skip
def test_values_are_redacted(text: str, values: list[str], shown: str) -> None:
    assert Redactor(values).text(text) == shown


def shows(redactor: Redactor, printed: str) -> bool:
    """Whether a piece of what was printed is still there."""
    return is_shown(
        printed, redactor.line(f"before {printed} after" if not printed.endswith("…") else printed)
    )


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_value_is_redacted_in_every_encoding(form: Form, value: str) -> None:
    redactor = Redactor([value])
    assert not shows(redactor, form.spell(value))
    assert "[redacted]" in redactor.text(form.spell(value))


def without(mask: str, patch: pytest.MonkeyPatch) -> None:
    """Take one of the masks out."""
    match mask:
        case "values":
            patch.setattr(Redactor, "learn", lambda *_: None)
        case "encodings":
            patch.setattr(redaction, "encoded_spans", lambda *_: iter(()))
        case "cut":
            patch.setattr(redaction, "_cut_end", lambda *_: 0)
        case "control sequences":
            patch.setattr(redaction, "printable", str)
            patch.setattr(redaction, "one_line", str)
        case spelling:
            patch.delitem(spellings.SPELLINGS, spelling)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_encoding_needs_its_own_mask(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    without(form.mask, monkeypatch)
    if form.mask == "percent signs":  # those of forms would do
        without("percent signs of forms", monkeypatch)
    assert shows(Redactor(VALUES), form.spell(VALUES[0]))


def test_every_spelling_has_a_test_that_needs_it() -> None:
    assert spellings.SPELLINGS.keys() < {form.mask for form in FORMS.values()}


ESCAPES = [
    name for name, form in FORMS.items() if form.mask in spellings.SPELLINGS and name != "JSON within JSON"
]


@given(
    some.text(ANY, min_size=8, max_size=40),
    some.lists(some.sampled_from(ESCAPES), max_size=2),
    some.text(string.printable, max_size=20),
    some.text(string.printable, max_size=20),
)
def test_any_value_is_redacted_in_nested_encodings(
    value: str, names: list[str], before: str, after: str
) -> None:
    redactor, known = Redactor([value]), HALVES.sub("\ufffd", printable(value)).strip()
    known = known if len(known) >= SHORTEST else ""
    printed = known
    for name in names:
        printed = FORMS[name].spell(printed)
    if known:
        assert known not in redactor.text(f"{before} {printed} {after}").replace("[redacted]", "\0")
        assert "[redacted]" in redactor.text(f"{before} {printed} {after}")


@given(some.binary(min_size=6, max_size=60), some.binary(max_size=10), some.binary(max_size=10))
def test_base64_is_recognised_in_every_alignment(value: bytes, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + value + after).decode()
    for body in spellings.base64_bodies(value):
        assert len(body) >= 7
    assert any(body in encoded for body in spellings.base64_bodies(value))


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "admin"])
def test_the_shortest_value_is_redacted_in_basic_authentication(user: str) -> None:
    sent = in_base64("s3cr3t", f"{user}:")
    assert not any(piece in Redactor(["s3cr3t"]).line(f"Basic {sent}") for piece in (sent[-4:], sent[-8:]))


@pytest.mark.parametrize("width", [12, 16, 64, 76])
def test_a_key_is_redacted_with_any_line_length(width: int) -> None:
    body = in_base64("the private key of an account, which is long enough for several lines of a file")
    pem = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    redactor = Redactor([f"-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"])
    for line in (body[at : at + width] for at in range(0, len(body) - 11, width)):
        assert redactor.line(f"key: {line}") == "key: [redacted]" or len(line) < 12


@pytest.mark.parametrize("width", [64, 76, 10**6])
@pytest.mark.parametrize(
    "encoded",
    [lambda value: base64.b64encode(b"x" + value).decode(), bytes.hex, lambda value: value.hex().upper()],
    ids=["base64", "hexadecimal", "capitals"],
)
def test_a_large_value_is_redacted_with_any_line_length(encoded: Callable[[bytes], str], width: int) -> None:
    value = "".join(random.Random(7).choices(string.ascii_letters, k=20_000))
    printed = encoded(value.encode())
    lines = [printed[at : at + width] for at in range(4, len(printed) - 48, width)]

    assert set(Redactor([value]).text("\n".join(lines)).split("\n")) == {"[redacted]"}
    # What came before it on the line stays.
    assert Redactor([value]).line(f"stored: {lines[-1]}") == "stored: [redacted]"


def test_a_part_of_base64_is_redacted() -> None:
    encoded = in_base64("hunter2 hunter2 hunter2", "some", "thing")
    assert Redactor(["hunter2 hunter2 hunter2"]).line(encoded[10:26]) == "[redacted]"


def test_values_learned_later_are_redacted_from_then_on() -> None:
    redactor = Redactor(["correct horse"])
    redactor.learn(["battery staple", "correct horse"])
    assert redactor.line("correct horse battery staple") == "[redacted] [redacted]"


def test_a_value_of_two_lines_is_redacted_in_one_line() -> None:
    redactor = Redactor(["first line\nsecond line"])
    assert redactor.line("a\nfirst line\nsecond line\r\nb") == "a [redacted] b"


def test_values_are_redacted_in_nested_data() -> None:
    redactor = Redactor(["correct horse"])
    assert redactor.tree({"a": ["correct horse", 1, None, ("b",)], "c": {"d": True}}) == {
        "a": ["[redacted]", 1, None, ["b"]], "c": {"d": True},
    }  # fmt: skip


def test_a_redacted_failure_keeps_its_kind() -> None:
    redactor = Redactor(["correct horse"])
    with pytest.raises(TimedOut) as caught, redactor.failures():
        raise TimedOut(
            "correct\x1b[31m horse failed", f"log:\n  correct horse\n{'x' * 3000}", "look at correct horse"
        )
    assert str(caught.value).splitlines()[:3] == [
        "[redacted] failed", "  why:  log:", "          [redacted]",
    ]  # fmt: skip
    assert caught.value.next_step == "look at [redacted]"
    assert len(caught.value.why) < 2100
    assert caught.value.args == ("[redacted] failed",)


def test_no_traceback_shows_the_original_failure() -> None:
    value = " ".join(("correct", "horse"))  # a traceback shows the lines of this test
    with pytest.raises(UsageError) as caught, Redactor([value]).failures():
        raise UsageError(value)
    assert str(caught.value) == "[redacted]"
    assert value not in "".join(traceback.format_exception(caught.value))


def test_other_errors_are_not_changed() -> None:
    with pytest.raises(ValueError, match="correct horse"), Redactor(["correct horse"]).failures():
        raise ValueError("correct horse")


@pytest.mark.parametrize(
    ("key", "value", "covered"),
    [
        ("DB_NAME", "lookit", True),
        ("PIPE_ENVIRONMENT", "staging", True),
        ("RABBITMQ_USER", "administrator", True),
        ("EMAIL_HOST", "smtp.example.org:587", True),
        ("REGION", "us-east1", True),
        ("SITE", "https://lookit.example.org/", True),
        ("universe_domain", "googleapis.com", True),
        ("DB_HOST", "10.20.30.40", True),
        ("OPEN", "4f9Zq whatever", True),
        ("DB_PASSWORD", "lookit", True),
        ("DB_PASSWORD", "look", False),
        ("DB_PASSWORD", "sunshine", False),
        ("DB_USER", "k3xq9fz2m", False),
        ("k", "rotated-long-ago", False),
        ("k", "correcthorsebatterystaple", False),
        ("k", "47114711", False),
        ("k", "lookit-staging", True),
        ("mode", "authorized_user", True),
        ("CLIENT_ID", "0f3c5d7e9b1a2f4c", False),
        ("WEBHOOK", "https://hooks.example.org/T0/B0", False),
        ("DB_URL", "postgres://u:p4ss@db/lookit", False),
        ("", "sunshine", False),
        ("", "staging", True),
    ],
)
def test_names_words_and_hosts_are_not_secret(key: str, value: str, covered: bool) -> None:
    public = Public(frozenset({"OPEN"}), json.dumps({"name": "lookit-staging", "zone": "us-east1-d"}))
    assert public.covers(key, value) is covered


def test_a_failure_without_secrets_is_still_printable() -> None:
    with pytest.raises(Failure) as caught, Redactor().failures():
        raise Failure("\x1b[2Jx", "a\rb")
    assert (caught.value.what, caught.value.why) == ("x", "ab")


def test_a_redactor_knows_what_is_public() -> None:
    public = Public(frozenset({"OPEN"}))

    assert Redactor([], public).public is public
    assert not Redactor().public.covers("OPEN", "correct-horse")
