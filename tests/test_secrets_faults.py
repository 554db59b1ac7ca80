"""A KMS in trouble, and a task that is killed: no file is lost, none is half-written, and a rerun finishes."""

import itertools
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.kms.client import connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import open_file
from tasks.lib.secrets.files import one_file
from tests.builders import ROOT
from tests.heard import heard, until
from tests.kms_process import KEY, KmsProcess, make_key
from tests.program import Ended, Here
from tests.secrets_program import CANARY, FOLDER, PLAINTEXTS, Checkout, new_checkout

serial = itertools.count()
STAGING = ("--environment", "staging")
NAME = "lookit-secrets.env"
CHANGED = {**PLAINTEXTS, NAME: Secret(f"DB_HOST=new\nDB_PASSWORD={CANARY}\n".encode())}
# For runs that are meant to give up.
SHORT = {"INVOKE_TIME_LIMITS_KMS": "0.5s", "INVOKE_TIME_LIMITS_KMS_ATTEMPT": "0.25s"}
LONG = {"INVOKE_TIME_LIMITS_KMS": "60s", "INVOKE_TIME_LIMITS_KMS_ATTEMPT": "20s"}


@dataclass(frozen=True)
class Task:
    """A task, what it starts from, and what staging's files hold when it is done."""

    words: tuple[str, ...]
    result: dict[str, Secret]
    before: Callable[[Checkout], None] = lambda _: None
    stdin: str = ""
    moves: bool = False

    def __str__(self) -> str:
        return self.words[0]

    def command(self, other: str) -> tuple[str, ...]:
        return tuple(other if word == "OTHER" else word for word in self.words)


def plaintexts_lie_there(checkout: Checkout) -> None:
    for name, plaintext in CHANGED.items():
        (checkout.root / FOLDER.format("staging") / name).write_bytes(plaintext.reveal())


def a_new_version(checkout: Checkout) -> None:
    client = checkout.kms.client()
    client.create_crypto_key_version(parent=checkout.key, crypto_key_version={})
    client.update_crypto_key_primary_version(name=checkout.key, crypto_key_version_id="2")


def an_editor(checkout: Checkout) -> None:
    path = checkout.root / "editor"
    path.write_text('#!/bin/sh\nsed -i s/=db$/=new/ "$1"\n')
    path.chmod(0o755)


TASKS = [
    Task(("decrypt", *STAGING), PLAINTEXTS),
    Task(("secrets.encrypt", "--all", *STAGING), CHANGED, plaintexts_lie_there),
    Task(("secrets.edit", NAME, *STAGING), CHANGED, an_editor),
    Task(("secrets.set", "DB_HOST", *STAGING), CHANGED, stdin="new\n"),
    Task(("secrets.rotate",), PLAINTEXTS, a_new_version),
    Task(("secrets.rekey", "--to", "OTHER"), PLAINTEXTS, moves=True),
]
REENCRYPTING = TASKS[-2:]
AWAY = {"code": "UNAVAILABLE", "message": "Away."}
WRONG_CRC = (
    {"rpc": "Decrypt", "spoil": "plaintext_crc32c"},
    {"rpc": "Encrypt", "spoil": "ciphertext_crc32c"},
)
PASSING: dict[str, tuple[dict[str, Any], ...]] = {
    "slow": ({"delay": 0.3},),
    "failing once": ({"times": 1, **AWAY},),
    "a wrong CRC once": tuple({"times": 1, **fault} for fault in WRONG_CRC),
    "hanging once": ({"times": 1, "hang": True},),
}
LASTING: dict[str, tuple[dict[str, Any], ...]] = {
    "hanging": ({"hang": True},),
    "failing always": (AWAY,),
    "a wrong CRC always": WRONG_CRC,
    "failing from the third call on": ({"skip": 2, **AWAY},),
}


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path, here: Here, task: Task) -> Checkout:
    """A checkout; one whose key gets versions has a key that no other test touches."""
    key = make_key(kms, f"faults-{next(serial)}") if task in REENCRYPTING else KEY
    return new_checkout(kms, tmp_path, key, here)


@pytest.fixture
def other(checkout: Checkout, task: Task) -> str:
    """The key that a task moves the files to; their own where it moves none."""
    return make_key(checkout.kms, f"faults-{next(serial)}") if task.moves else checkout.key


def run(checkout: Checkout, task: Task, other: str, **limits: str) -> Ended:
    editor = {"EDITOR": str(checkout.root / "editor"), "VISUAL": ""}
    name, *arguments = task.command(other)
    return checkout.run(name, *arguments, stdin=task.stdin, **editor, **limits)


def expect_whole(checkout: Checkout, task: Task, other: str) -> None:
    """Every file is the old one or the new one, and nothing lies beside them that was not there."""
    for environment in ("staging", "production"):
        opened = opened_by_either_key(checkout, other, environment)
        for name, plaintext in opened.items():
            assert plaintext in {PLAINTEXTS[name], task.result[name]}
    assert [path.name for path in files(checkout) if path.name.startswith(".")] == []


def files(checkout: Checkout) -> set[Path]:
    """Those of the tree."""
    return set((checkout.root / "kubernetes").rglob("*"))


def opened_by_either_key(checkout: Checkout, other: str, environment: str = "staging") -> dict[str, Secret]:
    found = {}
    for name in PLAINTEXTS:
        key = other if other.encode() in checkout.encrypted(environment, name).read_bytes() else checkout.key
        settings = checkout.with_key(key).settings()
        with connected(settings) as kms:
            found[name] = open_file(
                kms, one_file(settings, settings.environment(environment), name)
            ).plaintext
    return found


def expect_done(checkout: Checkout, task: Task, other: str) -> None:
    """Everything is as the task makes it, and in order."""
    finished = checkout.with_key(other)
    assert finished.opened() == task.result
    assert finished.opened("production") == PLAINTEXTS
    assert finished.run("secrets.verify").code == 0
    if task.words[0] == "decrypt":
        folder = checkout.root / FOLDER.format("staging")
        assert {name: Secret((folder / name).read_bytes()) for name in PLAINTEXTS} == PLAINTEXTS


@pytest.mark.parametrize("trouble", PASSING)
@pytest.mark.parametrize("task", TASKS, ids=str)
def test_a_temporary_problem_is_retried(checkout: Checkout, other: str, task: Task, trouble: str) -> None:
    task.before(checkout)
    checkout.kms.set_faults(*PASSING[trouble])
    attempt = {"INVOKE_TIME_LIMITS_KMS_ATTEMPT": "2s"} if "hanging" in trouble else {}
    done = run(checkout, task, other, **{**LONG, **attempt})
    assert done.code == 0, done.stderr
    checkout.kms.set_faults()
    expect_done(checkout, task, other)


# Two calls are all that these make.
SHORT_ONES = ("secrets.edit", "secrets.set")
LASTING_CASES = [
    pytest.param(task, trouble, id=f"{task}-{trouble}")
    for task in TASKS
    for trouble in LASTING
    if not (trouble.startswith("failing from") and task.words[0] in SHORT_ONES)
]


@pytest.mark.parametrize(("task", "trouble"), LASTING_CASES)
def test_a_lasting_problem_loses_nothing_and_the_next_run_finishes(
    checkout: Checkout, other: str, task: Task, trouble: str
) -> None:
    task.before(checkout)
    lying_there = files(checkout)
    checkout.kms.set_faults(*LASTING[trouble])
    failed = run(checkout, task, other, **SHORT)
    assert failed.code == 1, failed.stderr
    checkout.kms.set_faults()
    expect_whole(checkout, task, other)
    assert files(checkout) == lying_there
    again = run(checkout, task, other, **LONG)
    assert again.code == 0, again.stderr
    expect_done(checkout, task, other)


@pytest.mark.parametrize(
    ("finished", "number"),
    [(0, signal.SIGKILL), (3, signal.SIGKILL), (7, signal.SIGKILL), (3, signal.SIGTERM), (3, signal.SIGINT)],
)
@pytest.mark.parametrize("task", REENCRYPTING, ids=str)
def test_killed_after_any_file_the_next_run_does_the_rest(
    checkout: Checkout, other: str, task: Task, finished: int, number: signal.Signals
) -> None:
    """`finished` files are done when the signal comes, and the others are waiting for KMS to encrypt them."""
    task.before(checkout)
    before = checkout.everything()
    checkout.kms.set_faults({"rpc": "Encrypt", "skip": finished, "hang": True})
    process = subprocess.Popen(
        checkout.command(*task.command(other)), cwd=ROOT, env=checkout.environ(**LONG),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def is_there() -> bool:
        assert process.poll() is None, running.said
        return len(changed(checkout, before)) >= finished and decrypted(checkout) >= len(before) + finished

    with heard(process) as running:
        until(is_there)
        running.send(number)
        assert running.end() == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in running.said
    assert len(changed(checkout, before)) == finished
    checkout.kms.set_faults()
    expect_whole(checkout, task, other)
    again = run(checkout, task, other, **LONG)
    assert again.code == 0, again.stderr
    assert (again.stderr.count("re-encrypted"), again.stderr.count("nothing to do")) == (
        8 - finished,
        finished,
    )
    expect_done(checkout, task, other)


def changed(checkout: Checkout, before: dict[Path, bytes]) -> list[Path]:
    return [path for path, content in checkout.everything().items() if content != before[path]]


def decrypted(checkout: Checkout) -> int:
    return sum(call["rpc"] == "Decrypt" and call["code"] == "OK" for call in checkout.kms.calls())
