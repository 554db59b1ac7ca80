"""Facts that somebody changed with kubectl edit."""

import json

import pytest

from tasks.lib.deploy.output.releases import release_lines, row
from tasks.lib.deploy.releases.history import Past
from tasks.lib.deploy.releases.soundness import sound

FACTS = {
    "result": "deployed",
    "seconds": "2.5",
    "back_to": "3",
    "phases": '{"jobs": 1.2}',
    "images": '["a:1"]',
    "secrets": json.dumps([{"name": "env-1", "namespace": "default", "keys": ["a"]}]),
}


def test_what_can_be_read_stays_as_it_is() -> None:
    assert sound(FACTS) == FACTS
    assert sound({}) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seconds", "long"), ("seconds", "nan"), ("seconds", ""), ("back_to", "six"), ("back_to", "-1"),
        ("phases", "{"), ("phases", "[]"), ("phases", '{"jobs": "long"}'), ("images", '["a"'), ("images", "[1]"),
        ("images", "[" * 100_000), ("secrets", "{}"), ("secrets", '[{"name": "a"}]'), ("secrets", "null"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out_and_named(name: str, text: str) -> None:
    expected = {**FACTS, "damaged": name}
    del expected[name]
    assert sound({**FACTS, name: text}) == expected


def test_a_damaged_release_is_told() -> None:
    damaged = dict.fromkeys(("seconds", "back_to", "phases", "images", "secrets"), "{")
    one = Past(4, sound({**FACTS, **damaged, "not_kept": "Too large."}), "")

    assert row(one)[2] == "0.0 s"
    assert "  damaged: back_to, images, phases, seconds, secrets" in release_lines(one)
