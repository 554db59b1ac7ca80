"""Two states of a secret file, key by key."""

import pytest

from tasks.lib.redaction import Secret
from tasks.lib.secrets.diff import Change, compare, fingerprints
from tasks.lib.secrets.expected import WHOLE, values


def changes(name: str, before: bytes, now: bytes) -> list[tuple[str, Change]]:
    found = compare("staging/x", values(name, Secret(before)), values(name, Secret(now)))
    return [(entry.key, entry.change) for entry in found]


@pytest.mark.parametrize(
    ("name", "before", "now", "expected"),
    [
        ("a.env", b"A=1\nB=2\n", b"B=3\nC=\n",
         [("A", Change.REMOVED), ("B", Change.CHANGED), ("C", Change.ADDED)]),
        ("a.env", b"A=1\nmixedCase=2\n", b"mixedCase=2\n",
         [("A", Change.REMOVED), ("the key on line 1", Change.UNCHANGED)]),
        ("a.json", b'{"a": {"b": 1}}', b'\xef\xbb\xbf{"a": {"b": 2}}', [("a", Change.CHANGED)]),
        ("a.json", b'{"a\\ud800": "\\ud800"}', b'{"a\\ud800": "\\udc00"}', [("the key on line 1", Change.CHANGED)]),
        ("a.json", b"no json", b"no json", [(WHOLE, Change.UNCHANGED)]),
        ("a.pem", b"1", b"2", [(WHOLE, Change.CHANGED)]),
        ("a.json", b"no json", b'{"a": 1}', [(WHOLE, Change.REMOVED), ("a", Change.ADDED)]),
    ],
    ids=["env", "a key of unusual form", "json", "half of a pair", "broken json", "no keys", "repaired json"],
)  # fmt: skip
def test_every_key_is_listed_once(
    name: str, before: bytes, now: bytes, expected: list[tuple[str, Change]]
) -> None:
    assert changes(name, before, now) == expected


def test_json_with_half_a_surrogate_pair_has_fingerprints() -> None:
    assert fingerprints("a.json", Secret(b'{"a\\ud800": "\\ud800"}'), b"k").startswith("the key on line 1 = ")
