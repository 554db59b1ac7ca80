"""Manifests are read as kubectl reads them, and written so that they are read as the same."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from random import Random

import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tasks.lib.kubernetes_yaml import dump, load
from tasks.lib.render.kustomize import kubectl
from tests.builders import checked_in_settings
from tests.characters import ANY

WORDS = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "~", "=", ".5e", "0x", "e1"]
CASES = (str, str.upper, str.capitalize)


def text_of(characters: str, most: int) -> Callable[[Random], str]:
    """A maker of texts."""
    return lambda random: "".join(random.choices(characters, k=random.randint(1, most)))


# What makes a scalar that a reader may take for a number; each hits another rule.
MAKERS: tuple[Callable[[Random], str], ...] = (
    lambda random: random.choice(CASES)(random.choice(WORDS)),
    lambda random: f"{random.randrange(10**4)}e{random.randrange(10**4)}",
    lambda random: f"{random.choice(('', '-', '+'))}0{random.choice('xXoObB')}{text_of('01', 70)(random)}",
    lambda random: f"{random.choice(('', '-', '+'))}0x{text_of('0123456789abcdef', 20)(random)}",
    lambda random: f"0{text_of('01234567_', 23)(random)}",
    lambda random: f"{random.choice(('', '-', '+'))}{2 ** random.randint(52, 66) + random.randint(-3, 3)}",
    lambda random: repr(random.choice((1, -1)) * random.random() * 10.0 ** random.randint(-12, 26)),
    lambda random: f"{text_of('0123456789_.', 8)(random)}e{text_of('0123456789_+-', 4)(random)}",
    lambda random: f"20{random.randrange(100)}-{random.randrange(14)}-{random.randrange(33)}",
    text_of("0123456789abcdef", 12),
    text_of("0123456789_.+-eE", 10),
    text_of("01bBxXoO_.+-", 8),
)


def unquoted(text: str) -> bool:
    """Whether `text` may stand without quotes, as a value and as a key."""
    try:
        return isinstance(load(f"- {text}\n- {text}: 1\n")[0], str | int | float)
    except yaml.YAMLError:
        return False


def whole(digits: str) -> int | float:
    """A number without a point: Go writes a float so as well, where 64 bits hold no such whole number."""
    return int(digits) if -(2**63) <= int(digits) < 2**63 else float(digits)


def read_by_kubectl(spec: str) -> list[object]:
    """What kubectl makes of `spec`, a sequence."""
    manifest = f"apiVersion: example.com/v1\nkind: Any\nmetadata: {{name: a}}\nspec:\n{spec}"
    said = subprocess.run(
        [kubectl(checked_in_settings()), "label", "--local", "-f", "-", "-o", "json", "a=b"],
        input=manifest, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    spec_read: list[object] = json.loads(said.stdout, parse_int=whole)["spec"]
    return spec_read


def typed(value: object) -> object:
    """The value with its type, so that 1, 1.0 and True differ."""
    if isinstance(value, Mapping):
        return {key: typed(below) for key, below in value.items()}
    if isinstance(value, list):
        return [typed(below) for below in value]
    return (type(value).__name__, value)


@settings(max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers())
def test_scalars_and_keys_are_read_as_kubectl_reads_them(seed: int) -> None:
    random = Random(seed)
    scalars = list(filter(unquoted, (random.choice(MAKERS)(random) for _ in range(600))))
    spec = "".join(f"- {text}\n- {text}: 1\n" for text in scalars)

    theirs = read_by_kubectl(spec)
    assert [(text, typed(mine)) for text, mine in zip(each(scalars), load(spec), strict=True)] == [
        (text, typed(value)) for text, value in zip(each(scalars), theirs, strict=True)
    ]


def each(scalars: list[str]) -> Iterator[str]:
    """Each scalar twice: it stands as a value and as a key."""
    return (text for text in scalars for _ in range(2))


MEANINGS = [
    ("61e9540", "61e9540"), ("0x1fffffffffffffffffff", "0x1fffffffffffffffffff"), ("1e999", "1e999"),
    ("1e3", 1000), ("0444", 292), ("12:30", "12:30"), ("2026-11-23", "2026-11-23"), ("yes", True), ("y", True),
    ("off", False), ("true", True), ('"1e3"', "1e3"), ("!!str 1e3", "1e3"), ("null", None), ("~", None), ("", None),
    ("1_000", 1000), ("0.5", 0.5), ("1.0", 1), ("8080", 8080), ("=", "="), ("18446744073709551615", 2.0**64),
    ("{1: 2, on: 3, '1.50': 4}", {"1": 2, "true": 3, "1.50": 4}),
    ("{a: &a {b: 1}, <<: *a}", {"a": {"b": 1}, "b": 1}),
]  # fmt: skip


def test_written_yaml_is_read_the_same_by_kubectl() -> None:
    spec = "".join(f"- {written}\n" for written, _ in MEANINGS)

    assert typed(load(spec)) == typed(read_by_kubectl(spec)) == typed([value for _, value in MEANINGS])


REFUSED = [
    "[.inf]", "[.nan]", "{~: 1}", "{[1]: 1}", "{18446744073709551615: 1}", "!!int 1.5", "{!!int x: 1}",
]  # fmt: skip


@pytest.mark.parametrize("written", REFUSED)
def test_what_kubectl_refuses_is_refused(written: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load(written)
    with pytest.raises(AssertionError, match="error converting YAML to JSON"):
        read_by_kubectl(f"- {written}\n")


@pytest.mark.parametrize("written", ["{1.50: 4}", "!!int 5", "!other [1]", "{!!binary aGk=: 4}"])
def test_what_no_manifest_needs_is_refused(written: str) -> None:
    with pytest.raises(yaml.YAMLError, match="write the value without it|put it in quotes"):
        load(written)


@given(st.recursive(
    st.sampled_from(["1e3", "61e9540", "yes", "n", "0x10", "", "2026-11-23", "a: b", "line\nline\n", "1_0", "<<"])
    | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none() | st.text(ANY, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "y", "1", "1e3"]), inner),
))  # fmt: skip
@example("\x85")
@example("1\u2028\n")
def test_written_yaml_is_read_back_unchanged(content: object) -> None:
    assert typed(load(dump(content))) == typed(content)
