"""After every task that handles secrets, and after every failure: the canary is found nowhere.

Looked at are stdout, stderr, the arguments and environments of all processes while the task runs, its temporary
folders, HOME and cache, shared memory, the checkout of the program with its reports and with cores, and the logs of
KMS.  tests/e2e/test_leaks.py does the same for the tasks that meet a cluster, tests/e2e/test_docker_context.py for the
layers of an image.
"""

import errno
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.redaction import Secret
from tests.builders import ROOT
from tests.canary import (
    Canary,
    audited,
    noting_starts,
    outputs,
    started_with,
    unique,
    watched_processes,
    workspaces,
)
from tests.heard import until
from tests.kms_process import KmsProcess, make_key
from tests.program import Here
from tests.secrets_program import FOLDER, PLAINTEXTS, Checkout, new_checkout

CANARY = unique("Zq7")
STAGING = ("--environment", "staging")
SHA = "0123456789abcdef0123456789abcdef01234567"
pytestmark = pytest.mark.e2e
serial = itertools.count()
# Becomes the program that follows, which may leave cores as large as they like.
CORES_ALLOWED = ("sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh")
# The tree of this repository asks for all its keys.
SECRETS = {
    "lookit-secrets.env": Secret(f"DB_HOST=db\nDB_PASSWORD={CANARY.value}\nrabbitmq-password={CANARY.value}\n".encode()),
    "lookit-rabbitmq.env": Secret(f"rabbitmq-erlang-cookie={CANARY.value}\n".encode()),
    "googleAppCreds.json": Secret(f'{{"type": "x", "private_key": "{CANARY.value}"}}'.encode()),
    "cloudsql-client-creds.json": Secret(f'{{"private_key": "{CANARY.value}"}}'.encode()),
}  # fmt: skip
assert SECRETS.keys() == PLAINTEXTS.keys()


def editor(checkout: Checkout, text: str) -> dict[str, str]:
    path = checkout.root / "editor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"EDITOR": str(path), "VISUAL": ""}


def no_trouble(_checkout: Checkout) -> None:
    """Leave all as it is."""


def corrupt(checkout: Checkout) -> None:
    content = bytearray(checkout.encrypted().read_bytes())
    content[-1] ^= 1
    checkout.encrypted().write_bytes(content)


def swapped(checkout: Checkout) -> None:
    checkout.encrypted().write_bytes(checkout.encrypted("production").read_bytes())


def revoked(checkout: Checkout) -> None:
    checkout.kms.set_policy({})


def away(checkout: Checkout) -> None:
    checkout.kms.set_faults({"code": "UNAVAILABLE", "message": "Away."})


def damaged_answers(checkout: Checkout) -> None:
    checkout.kms.set_faults({"rpc": "Decrypt", "spoil": "plaintext_crc32c"})


def failing_encryption(checkout: Checkout) -> None:
    checkout.kms.set_faults({"rpc": "Encrypt", "code": "RESOURCE_EXHAUSTED", "message": "Quota."})


def failing_third_call(checkout: Checkout) -> None:
    checkout.kms.set_faults({"skip": 2, "code": "INTERNAL", "message": "Internal."})


def hanging(checkout: Checkout) -> None:
    checkout.kms.set_faults({"hang": True})


def not_valid(checkout: Checkout) -> None:
    """Sealed all the same, as gcloud would: a value that broke over lines, keys twice, broken JSON."""
    lines = "DB_PASSWORD=a\n{0}\n{0}=\n+{0}/\n{0}/x={0}\n {0} =\nDB_PASSWORD={0}\nx\0={0}\n"
    broken = lines.format(CANARY.value).encode()
    checkout.seal("staging", {
        "lookit-secrets.env": Secret(broken), "googleAppCreds.json": Secret(f'{{"a": "{CANARY.value}'.encode()),
    })  # fmt: skip


def committed_plaintext(checkout: Checkout) -> None:
    (checkout.root / "notes.md").write_text("nothing yet")
    checkout.git("add", "-A")


def changed(checkout: Checkout) -> None:
    checkout.seal("staging", {"lookit-secrets.env": Secret(f"DB_HOST={CANARY.value}x\n".encode())})


def decrypted(checkout: Checkout) -> None:
    """The plaintexts lie where `decrypt` puts them."""
    for name, plaintext in SECRETS.items():
        (checkout.root / FOLDER.format("staging") / name).write_bytes(plaintext.reveal())


@dataclass(frozen=True)
class Case:
    """A task, what troubles it, and how it ends."""

    task: str
    arguments: tuple[str, ...] = STAGING
    code: int = 0
    trouble: Callable[[Checkout], None] = no_trouble
    editing: str = ""
    stdin: str = ""
    writes: tuple[str, ...] = field(default=())
    # `render` into a pipe prints the Secrets: that is what it is for.
    stdout_is_exempt: bool = False
    # The one process whose environment may hold the values: what `secrets.exec` runs.
    child: str = ""
    # In a process of its own, where the streams and the limits of cores are its own.
    apart: bool = False

    def __str__(self) -> str:
        return f"{self.task} {self.trouble.__name__} {self.editing}".strip()


RENDER = ("--commit", SHA, "--tag", "v1")
EDIT = ("lookit-secrets.env", *STAGING)
# What the table of tasks and troubles below does not have.
CASES = [
    Case("decrypt", writes=tuple(SECRETS), apart=True),
    Case("render", (*STAGING, *RENDER), stdout_is_exempt=True, apart=True),
    Case("secrets.verify", (), code=1, trouble=not_valid),
    Case("secrets.set", ("DB_HOST", *STAGING), code=2, stdin=f"{CANARY.value}\nmore"),
    Case("secrets.edit", EDIT, code=1, editing="exit 3"),
    Case("secrets.edit", EDIT, code=1, editing='cat "$1" "$1" > x; cp x "$1"; rm x'),
    Case("secrets.rotate", ("--new-version",)),
    Case("secrets.diff", ("--show",), stdout_is_exempt=True, trouble=changed),
    Case("secrets.exec", (*STAGING, "--", "sleep", "0.3"), child="sleep", apart=True),
    Case("secrets.exec", (*STAGING, "--", "/no/such/program"), code=1, child="program"),
    Case("secrets.check", trouble=committed_plaintext, arguments=()),
]


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path, here: Here) -> Checkout:
    """A checkout of its own key, with the canary in every file; Lookit's own tree of manifests around it."""
    shutil.copytree(
        ROOT / "kubernetes", tmp_path / "checkout" / "kubernetes", ignore=shutil.ignore_patterns("*.enc")
    )
    key = make_key(kms, f"leaks-{next(serial)}")
    return new_checkout(kms, tmp_path / "checkout", key, here, SECRETS)


def private_places(tmp_path: Path) -> dict[str, str]:
    """Own folders for everything that programs leave lying about."""
    folders = {
        "TMPDIR": tmp_path / "tmp",
        "HOME": tmp_path / "home",
        "XDG_CACHE_HOME": tmp_path / "home" / "cache",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}


# These are given up only when time is over.
LASTING = (away, hanging, failing_third_call, damaged_answers)
OF_KMS = (*LASTING, failing_encryption)


def time_limits(trouble: Callable[[Checkout], None]) -> dict[str, str]:
    """Short time limits where it is sure that they are reached."""
    short = {"INVOKE_TIME_LIMITS_KMS": "0.6s", "INVOKE_TIME_LIMITS_KMS_ATTEMPT": "0.4s"}
    return short if trouble in LASTING else {}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_canary_is_found_nowhere(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    case.trouble(checkout)
    monkeypatch.setattr(tempfile, "tempdir", private_places(tmp_path)["TMPDIR"])
    other_key = make_key(checkout.kms, f"leaks-{next(serial)}") if "{other_key}" in case.arguments else ""
    besides = plaintexts(checkout, case.writes)
    limits = time_limits(case.trouble)
    run = run_apart if case.apart else run_here
    code, stderr = examine(checkout, tmp_path, case, other_key, besides, run, **limits)
    assert code == case.code, stderr.decode()


# Every task that handles secrets, as it is run where something goes wrong.
TASKS = [
    Case("decrypt", writes=tuple(SECRETS)),
    Case("render", (*STAGING, *RENDER), stdout_is_exempt=True),
    Case("secrets.encrypt", ("--all", *STAGING), writes=tuple(SECRETS)),
    Case("secrets.edit", EDIT, editing='sed -i s/=db/=other/ "$1"'),
    Case("secrets.set", ("DB_HOST", *STAGING), stdin=CANARY.value),
    Case("secrets.diff", ("HEAD~1",)),
    Case("secrets.verify", ("--json",)),
    Case("secrets.exec", (*STAGING, "--", "true"), child="true"),
    Case("secrets.log", ("lookit-secrets.env",)),
    Case("secrets.textconv", ("ENCRYPTED",)),
    Case("secrets.check", ()),
    Case("secrets.rotate", ()),
    Case("secrets.rekey", ("--to", "{other_key}")),
]
TROUBLES = [
    no_trouble, corrupt, swapped, revoked, away, hanging, failing_third_call, damaged_answers, failing_encryption, not_valid,
]  # fmt: skip


@pytest.mark.timeout(600)  # thirteen tasks, one after another
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_task_shows_the_canary_whatever_goes_wrong(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[Checkout], None]
) -> None:
    """How a task ends is the matter of other tests; here it may end as it likes, but with no traceback."""
    monkeypatch.setattr(tempfile, "tempdir", private_places(tmp_path)["TMPDIR"])
    checkout.git("commit", "-q", "--allow-empty", "-m", "One before")
    other_key = make_key(checkout.kms, f"leaks-{next(serial)}")
    decrypted(checkout)
    trouble(checkout)
    before = checkout.everything()
    monkeypatch.setattr(os, "execvpe", not_to_be_found)
    for task in TASKS:
        for path, content in before.items():
            path.write_bytes(content)
        if trouble in OF_KMS:  # it begins to count its calls anew
            trouble(checkout)
        besides = plaintexts(checkout, SECRETS)
        code, stderr = examine(checkout, tmp_path, task, other_key, besides, run_here, **time_limits(trouble))
        assert b"Traceback" not in stderr, (task.task, stderr.decode())
        assert code in {0, 1, 2, 3}, (task.task, stderr.decode())


def not_to_be_found(*_: Any) -> None:
    """What `secrets.exec` meets where nothing is wrong before: else this process would become the program."""
    raise FileNotFoundError(errno.ENOENT, "No such file or directory")


def test_the_table_of_troubles_has_every_task_of_secrets() -> None:
    assert {task.task for task in TASKS} >= {case.task for case in CASES}


def plaintexts(checkout: Checkout, names: Iterable[str]) -> set[Path]:
    """Where `decrypt` writes, and nothing else may."""
    return {checkout.root / FOLDER.format("staging") / name for name in names}


@dataclass(frozen=True)
class Ran:
    """How a task ended, what it printed, and the process that it ran in."""

    code: int
    stdout: bytes
    stderr: bytes
    pid: int


Run = Callable[[Checkout, Case, list[str], Path, dict[str, str]], Ran]


def run_apart(checkout: Checkout, case: Case, arguments: list[str], log: Path, own: dict[str, str]) -> Ran:
    """Run a task in a process of its own, where cores may be as large as they like."""
    process = subprocess.Popen(
        [*CORES_ALLOWED, *checkout.command(case.task, *arguments)], cwd=ROOT,
        env=checkout.environ(**own, **audited(log)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    stdout, stderr = process.communicate(case.stdin.encode())
    return Ran(process.returncode, stdout, stderr, process.pid)


def run_here(checkout: Checkout, case: Case, arguments: list[str], log: Path, own: dict[str, str]) -> Ran:
    """Run a task in this process."""
    assert checkout.here
    variables = {**checkout.variables(), **own}
    with noting_starts(log):
        done = checkout.here.inv(*checkout.arguments(case.task, *arguments), stdin=case.stdin, **variables)
    return Ran(done.code, done.stdout.encode(), done.stderr.encode(), os.getpid())


def examine(
    checkout: Checkout, tmp_path: Path, case: Case, other_key: str, besides: set[Path], run: Run, **more: str
) -> tuple[int, bytes]:
    """Run a task, look for the canary everywhere, and return how the task ended and what it said."""
    named = {"ENCRYPTED": str(checkout.encrypted()), "{other_key}": other_key}
    arguments = [named.get(word, word) for word in case.arguments]
    log = tmp_path / "started"
    log.unlink(missing_ok=True)
    own = {**private_places(tmp_path), **editor(checkout, case.editing), **more}
    with watched_processes(CANARY) as seen:
        done = run(checkout, case, arguments, log, own)
    assert seen.looks > 0
    assert {place for place in seen.places if not may_show(case, place)} == set()
    assert [line for line in noted(log) if not may_show(case, line)] == []
    assert not CANARY.is_in(done.stderr), case.task
    assert case.stdout_is_exempt or not CANARY.is_in(done.stdout), case.task
    assert own_workspaces(done.pid) == []
    assert CANARY.files_below([tmp_path, *outputs(), checkout.kms.state], {*besides, log}) == []
    return done.code, done.stderr


def noted(log: Path) -> list[str]:
    """The programs that a task started with the canary; it need not have started any."""
    return started_with(CANARY, log) if log.exists() else []


def may_show(case: Case, place: str) -> bool:
    """Whether it is the environment of the one program that is meant to have it."""
    is_it = re.match(rf"environ of b'{case.child}|os\.exec \[b?'[^']*/{case.child}'", place)
    return bool(case.child and is_it)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["waiting for kms", "editing"])
def test_a_signal_leaves_no_plaintext(
    checkout: Checkout, tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    with begun(checkout, tmp_path, moment) as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}[number]
        assert not CANARY.is_in(stderr)
        assert own_workspaces(process.pid) == []
    assert CANARY.files_below([tmp_path, *outputs()]) == []


def test_what_kill_9_leaves_is_swept_by_the_next_run(checkout: Checkout, tmp_path: Path) -> None:
    with begun(checkout, tmp_path, "editing") as process:
        left = own_workspaces(process.pid)
        assert [folder.stat().st_mode & 0o777 for folder in left] == [0o700]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # Whatever else runs on this machine may sweep it at once.
        assert {Path(path).parent for path in CANARY.files_below([tmp_path, *outputs()])} <= set(left)
        again = {**private_places(tmp_path), **editor(checkout, "true")}
        assert checkout.run("secrets.edit", "lookit-secrets.env", *STAGING, **again).code == 0
        assert not any(folder.exists() for folder in left)
    assert CANARY.files_below([tmp_path, *outputs()]) == []


@pytest.mark.parametrize("ending", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_leaves_no_core(checkout: Checkout, tmp_path: Path, ending: signal.Signals) -> None:
    """It runs where cores may be as large as they like; see the control below."""
    with begun(checkout, tmp_path, "editing") as process:
        left = own_workspaces(process.pid)
        limits = Path(f"/proc/{editor_of(process.pid)}/limits").read_text()
        assert [line.split()[4] for line in limits.splitlines() if line.startswith("Max core")] == ["0"]
        process.send_signal(ending)
        _, status = os.waitpid(process.pid, 0)
        assert os.WTERMSIG(status) == ending
        assert not os.WCOREDUMP(status)
        assert list(ROOT.glob("core*")) == []
        assert {Path(path).parent for path in CANARY.files_below([tmp_path, *outputs()])} <= set(left)


def test_without_that_a_crash_would_leave_one(tmp_path: Path) -> None:
    command = [*CORES_ALLOWED, sys.executable, "-c", "import os; os.abort()"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    _, status = os.waitpid(process.pid, 0)
    if not os.WCOREDUMP(status):
        pytest.skip("this machine writes no cores at all")
    assert os.WTERMSIG(status) == signal.SIGABRT


def editor_of(pid: int) -> str:
    """The process that the task runs."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]


def own_workspaces(pid: int) -> list[Path]:
    return [folder for folder in workspaces() if folder.name.startswith(f"lookit-orchestrator-{pid}-")]


@contextmanager
def begun(checkout: Checkout, tmp_path: Path, moment: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A task that holds plaintext, or waits for it; neither it nor its plaintext outlives the block."""
    reached = tmp_path / "reached"
    waiting = editor(checkout, f"touch {reached}; exec sleep 600")
    if moment == "waiting for kms":
        checkout.kms.set_faults({"rpc": "Decrypt", "skip": 1, "touch": str(reached), "hang": True})
    argv = checkout.command(
        *(("decrypt", *STAGING) if moment != "editing" else ("secrets.edit", "lookit-secrets.env", *STAGING))
    )
    environ = checkout.environ(**private_places(tmp_path), **waiting)
    process = subprocess.Popen(
        [*CORES_ALLOWED, *argv], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: reached.exists() or process.poll() is not None)
        assert process.poll() is None
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for folder in own_workspaces(process.pid):
            shutil.rmtree(folder, ignore_errors=True)


def test_the_search_itself_would_find_it(tmp_path: Path) -> None:
    """A search that finds nothing proves something only if it can find."""
    import base64

    # Not the value that tests beside this one look for at the same moment.
    canary = Canary("another-canary-in-plain-sight")
    (tmp_path / "plain").write_text(f"x{canary.value}y")
    (tmp_path / "encoded").write_bytes(base64.b64encode(b"ab" + canary.value.encode() + b"cd"))
    written_later = tmp_path / "clean"
    written_later.write_text("nothing yet")
    assert len(canary.files_below([tmp_path])) == 2
    written_later.write_text(canary.value)
    assert len(canary.files_below([tmp_path])) == 3
    with watched_processes(canary) as seen:
        for place, argv, environ in (
            ("cmdline", ["sh", "-c", "read line", canary.value], {}),
            ("environ", ["sh", "-c", "read line"], {"LEAK": canary.value}),
        ):
            with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, **environ}):
                until(lambda place=place: f"{place} of b'sh" in " ".join(seen.places))  # type: ignore[misc]
    assert {place.split(" ")[0] for place in seen.places} == {"cmdline", "environ"}


def test_short_programs_are_recorded_too(tmp_path: Path) -> None:
    """Its arguments, its environment, and what another program is replaced with."""
    canary, log = Canary("another-canary-that-is-gone-at-once"), tmp_path / "log"
    starts = [
        "subprocess.run(['true', WORD])",
        "subprocess.run(['true'], env={'LEAK': WORD})",
        "os.posix_spawn('/bin/true', ['true', WORD], {})",
        "os.environ.update(LEAK=WORD); subprocess.run(['true'])",
        "os.execvpe('true', ['true'], {b'LEAK': WORD.encode(), b'PATH': b'/bin'})",
    ]
    for start in starts:
        log.unlink(missing_ok=True)
        program = f"import os, subprocess, sys; WORD = sys.stdin.read(); {start}"
        environ = {**os.environ, **audited(log)}
        subprocess.run(
            [sys.executable, "-c", program], env=environ, input=canary.value, text=True, check=True
        )
        assert len(started_with(canary, log)) == 1, start


def test_started_programs_are_recorded_on_request(tmp_path: Path) -> None:
    canary, log = Canary("another-canary-of-this-process"), tmp_path / "log"
    with noting_starts(log):
        subprocess.run(["true", canary.value], check=True)
        subprocess.run(["true"], env={**os.environ, "LEAK": canary.value}, check=True)
        subprocess.run(["true"], check=True)
    subprocess.run(["true", canary.value], check=True)
    assert (len(started_with(canary, log)), len(log.read_text().splitlines())) == (2, 3)


# Tasks that never hold a secret's value, or that another file examines, each with the reason.
ELSEWHERE = {
    "build": "knows no secrets; what may be in the image: tests/e2e/test_docker_context.py",
    "push": "knows no secrets",
    "test": "knows no secrets: the tests' database is made for them",
    "upload": "knows no secrets",
    "check": "runs tests",
    "cluster.addons": "applies manifests of others, without secrets",
    "settings": "prints where credentials lie, never what they are",
    "database.connect": "where its password is not: tests/e2e/test_surroundings.py",
    "database.export": "reads the database's name only, by the function that decrypt uses",
    "pipeline.run": "its secrets come from Secret Manager: tests/lib/pipeline/test_secrets.py",
    "pipeline.reports": "knows no secrets",
    "pipeline.triggers": "knows no secrets",
    "rehearse": "decrypts, renders and deploys by the same functions, with placeholders",
    "release.sentry": "its token goes to one child's environment: tests/lib/test_sentry.py",
    "release.unlock": "knows no secrets",
    "setup": "knows no secrets: passwords and keys are left to a person",
}
KNOW_NO_SECRETS = ("ember.", "images.", "sandbox.", "database.backup", "database.restore", "database.start")


def test_no_task_is_forgotten() -> None:
    """A new task gets a row here or in tests/e2e/test_leaks.py, or a reason why it needs none."""
    import json

    from tests.e2e.test_leaks import STEPS

    listed = subprocess.run(
        [sys.executable, "-m", "tasks", "--list", "--list-format=json"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    steps = {step.words.split()[0] for _, steps in STEPS.values() for step in steps}
    covered = {task.task for task in TASKS} | steps | ELSEWHERE.keys()
    tasks = {name for name in names(json.loads(listed.stdout)) if not name.startswith(KNOW_NO_SECRETS)}
    assert tasks - covered == set()
    assert covered - tasks == set()


def names(collection: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The full names of a collection's tasks."""
    yield from (prefix + task["name"] for task in collection["tasks"])
    for inner in collection["collections"]:
        yield from names(inner, f"{prefix}{inner['name']}.")
