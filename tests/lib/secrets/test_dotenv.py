"""Env files: our reading, set against the real kustomize's, and what is reported about a file."""

import base64
import json
import os
import string
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.lib.render.documents import split
from tasks.lib.render.kustomize import HEAP
from tasks.lib.secrets import dotenv
from tasks.lib.secrets.dotenv import Finding, Severity

KUBECTL = Path(sys.executable).with_name("kubectl")
ERROR, WARNING = Severity.ERROR, Severity.WARNING


# The values of a file by key; None where it is refused.
Reading = dict[str, bytes] | None


def all_kustomized(folder: Path, contents: Sequence[bytes]) -> dict[bytes, Reading]:
    """What the real kustomize makes of each env file.

    One run reads them all.  It ends at the first that it refuses: which one that is, halves find out.
    """
    names = {f"s{number}": content for number, content in enumerate(contents)}
    done = _generated(folder, names)
    if done.returncode and len(contents) > 1:
        middle = len(contents) // 2
        return all_kustomized(folder, contents[:middle]) | all_kustomized(folder, contents[middle:])
    if done.returncode:
        return dict.fromkeys(contents)
    secrets = [document.content for document in split(done.stdout.decode())]
    return {names[found["metadata"]["name"]]: _values(found.get("data") or {}) for found in secrets}


def kustomized(folder: Path, content: bytes) -> Reading:
    """What it makes of one file."""
    return all_kustomized(folder, [content])[content]


def _generated(folder: Path, names: Mapping[str, bytes]) -> "subprocess.CompletedProcess[bytes]":
    """A run of kustomize that makes a Secret of each env file."""
    for name, content in names.items():
        (folder / f"{name}.env").write_bytes(content)
    options = {"disableNameSuffixHash": True}
    generators = [{"name": name, "envs": [f"{name}.env"], "options": options} for name in names]
    (folder / "kustomization.yaml").write_text(json.dumps({"secretGenerator": generators}))
    env = {**HEAP, **os.environ}
    return subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, check=False, env=env)


def _values(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in data.items()}


def ours(content: bytes) -> Reading:
    """Our reading, in the same form: kustomize itself refuses only repeated keys and what is no UTF-8."""
    parsed = dotenv.parse(content)
    reasons = (" is there twice: ", "not UTF-8", "kustomize refuses it")
    refused = [one for one in parsed.findings if any(reason in one.text for reason in reasons)]
    return None if refused else {pair.key: pair.value for pair in parsed.pairs}


# The rules for numbers are compared with kubectl's in tests/lib/test_kubernetes_yaml.py.  Here a run of kustomize
# for each that it refuses costs more than all others together.
WORDS = (
    "-1 .5 1e3 017 0x1f 1_000 FALSE ~ << -.inf 2001-1-1 "
    "61e9540 1e999 0x1fffffffffffffffffff tRue yes no on off y n 1e 0x 0xg 0o8 0b12 - -- --- _1 1:30 .e5 1A 1-1"
)
KEYS = ["DB_PASSWORD", "rabbitmq-password", "a.b", "_x", "A", "camelCase", "v1"]
FILES = [
    b"A=1\nB=2\n", b"A=1\nB=2", b"", b"\n\n", b"A=1\r\nB=2\r\n", b"A=1\r\r\n", b"\xef\xbb\xbfA=1\n",
    b"A=1\n\xef\xbb\xbfB=2\n", b"# note\n  # indented\nA=1", b"  A=1", b"\xc2\xa0A=1", b"\x1cA=1", b"A =1", b"A= 1 ",
    b"A='x'\nB=\"y\"", b"A=a=b=c", b"A=$HOME ${B}", b"A", b"A=", b"=1", b"1A=1", b"-A=1", b".A=1", b"..A=1", b".=1",
    b"A=1\nA=2\n", b"A=\xff", b"A=\xc3\xa4", b"A=\x00", b"A=1\rB=2", b"=", b"A B", b"\xc3\xa4=1", b"\x85A=1", b"A-b.c_d=1", b"A/B=1",
    b"A=" + b"x" * 65533 + b"\nB=2\n",
]  # fmt: skip


def file_of(word: str) -> bytes:
    return f"{word}=x\n".encode()


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, Reading]:
    """What kustomize makes of all the files above that we can read: one run instead of fifty."""
    contents = [*map(file_of, [*WORDS.split(), *KEYS]), *FILES]
    taken = [content for content in contents if ours(content) is not None]
    return all_kustomized(tmp_path_factory.mktemp("readable"), taken)


@pytest.fixture
def theirs(readable: dict[bytes, Reading], tmp_path: Path) -> Callable[[bytes], Reading]:
    """What kustomize makes of a file; one that we refuse is given to it alone, as it has to refuse it too."""
    return lambda content: readable[content] if content in readable else kustomized(tmp_path, content)


@pytest.mark.parametrize("word", WORDS.split())
def test_keys_that_yaml_does_not_read_as_text_are_refused(
    theirs: Callable[[bytes], Reading], word: str
) -> None:
    assert ours(file_of(word)) == theirs(file_of(word))


@pytest.mark.parametrize("content", FILES, ids=lambda content: repr(content[:24]))
def test_an_env_file_reads_as_kustomize_reads_it(theirs: Callable[[bytes], Reading], content: bytes) -> None:
    assert ours(content) == theirs(content)


ALPHABET = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"=", b"#", b" ", b"\t", b"\xef\xbb\xbf", b"\xc2\xa0", b"\xff"]
)
LINES = st.lists(
    st.one_of(ALPHABET, st.text(string.ascii_letters + "._-1$'\"", max_size=4).map(str.encode)), max_size=12
).map(b"".join)


# Eight files an example: kustomize reads those that it takes in one run.
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(LINES, min_size=8, max_size=8, unique=True))
def test_any_env_file_reads_as_kustomize_reads_it(tmp_path: Path, contents: list[bytes]) -> None:
    taken = [content for content in contents if ours(content) is not None]
    theirs = all_kustomized(tmp_path, taken) if taken else {}
    for content in set(contents) - set(taken):
        theirs[content] = kustomized(tmp_path, content)
    assert {content: ours(content) for content in contents} == theirs


@pytest.mark.parametrize(
    ("content", "findings"),
    [
        (b"A=1\n", []),
        (b"A=\n", [Finding(1, "A is empty", WARNING)]),
        (b"# x\nA\n", [Finding(2, "the key on line 2 has no =, so its value is empty", WARNING)]),
        (b"A=1\n\nA=2\n", [Finding(3, "A is there twice: it is on line 1 already", ERROR)]),
        (b"A=1\r\nB=2\r\n", [Finding(1, "ends in CR LF (2 lines do); the CR is dropped", WARNING)]),
        (b"A=1\nB=canary\r\nC=3", [Finding(2, "ends in CR LF; the CR is dropped", WARNING)]),
        (b"\xef\xbb\xbfA=1\n", [Finding(1, "begins with a byte order mark, which is dropped", WARNING)]),
        (b"A=canary\0\n", [Finding(1, "A contains a NUL byte, which an environment variable cannot", ERROR)]),
        (b"A=canary \n", [Finding(1, "A begins or ends with white space, which is part of the value", WARNING)]),
        (b"A='canary'\n", [Finding(1, "A is in quotes, which are part of the value", WARNING)]),
        (b'A=""\n', [Finding(1, "A is in quotes, which are part of the value", WARNING)]),
        (b"A=canary # why\n", [Finding(1, "A has a # after a space: the comment is part of the value", WARNING)]),
        (b'A="canary" # why\n', [Finding(1, "A has a # after a space: the comment is part of the value", WARNING)]),
        (b"A=canary#1\n", []),
        (b"A='canary\n", [Finding(1, "A has a quote at one end only, which is part of the value", WARNING)]),
        (b"A='\n", [Finding(1, "A has a quote at one end only, which is part of the value", WARNING)]),
        (b"A=can'ary\n", []),
        (b"A=can\rary\n", [Finding(1, "A contains a carriage return, which is part of the value", WARNING)]),
        (
            b"A=1\rB=canary\rC=3",
            [Finding(1, "A: lines end in CR alone, so kustomize reads the next ones as part of this value", ERROR),
             Finding(1, "A contains a carriage return, which is part of the value", WARNING)],
        ),
        (b"A = canary\n", [Finding(1, "a space before the =", ERROR)]),
        (b"A=1\n+canary/+\n", [Finding(2, "no key: it looks like the rest of a value, but a value has one line", ERROR)]),
        (b"canary/x=1\n", [Finding(1, "Kubernetes does not accept the key: only letters, digits, - _ and .", ERROR)]),
        (b"A=1\nMIIcanary=\n", [Finding(2, "the key on line 2 is empty", WARNING)]),
        (b"1=canary\n", [Finding(1, "YAML reads the key as a number or keyword: kustomize refuses it", ERROR)]),
        (b"=canary\n", [Finding(1, "no key before the =: kustomize drops the line", ERROR)]),
        (b"A=\xffcanary\n", [Finding(1, "not UTF-8 at byte 3", ERROR)]),
        (b"A=" + b"c" * 65536, [Finding(1, "longer than 64 KiB: kustomize would drop it and the rest of the file", ERROR)]),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)  # fmt: skip
def test_findings_name_lines_and_keys_but_no_value(content: bytes, findings: list[Finding]) -> None:
    parsed = dotenv.parse(content)
    assert list(parsed.findings) == findings
    assert "canary" not in str([str(finding) for finding in parsed.findings])


@pytest.mark.parametrize("key", KEYS)
def test_a_good_key_has_no_problem(theirs: Callable[[bytes], Reading], key: str) -> None:
    assert dotenv.problem_of_key(key) == ""
    assert theirs(file_of(key)) == {key: b"x"}


@pytest.mark.parametrize(
    "key", ["", "#A", " A", "A ", "A B", "A/B", "ä", "1", "true", "..", "\ufeffA", "2001-01-01"]
)
def test_keys_that_would_be_lost_are_a_problem(key: str) -> None:
    assert dotenv.problem_of_key(key)


@pytest.mark.parametrize(
    ("content", "key", "value", "result"),
    [
        (b"A=1\nB=2\n", "A", b"9", b"A=9\nB=2\n"),
        (b"A=1\nB=2", "B", b"9", b"A=1\nB=9"),
        (b"A=1", "C", b"9", b"A=1\nC=9\n"),
        (b"", "C", b"9", b"C=9\n"),
        (b"A=1\r\nB=2\r\n", "A", b"9", b"A=9\r\nB=2\r\n"),
        (b"A=1\r\n", "C", b"9", b"A=1\r\nC=9\r\n"),
        (b"\xef\xbb\xbfA=1\n", "A", b"9", b"\xef\xbb\xbfA=9\n"),
        (b"# A=0\n A=1\n", "A", b"9", b"# A=0\nA=9\n"),
    ],
)
def test_setting_a_key_changes_nothing_else(content: bytes, key: str, value: bytes, result: bytes) -> None:
    assert dotenv.changed(content, key, value) == result
