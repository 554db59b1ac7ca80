"""The guard as a whole: `secrets.check` over real repositories, and the hook that runs it before a commit."""

import base64
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.secrets import leak_check
from tasks.lib.secrets.envelope import Form
from tests.builders import ROOT
from tests.kms_process import DEPLOYER, KmsProcess
from tests.program import Here
from tests.secrets_program import CANARY, FOLDER, PLAINTEXTS, Checkout, new_checkout

FOUND = "holds the secret value of staging/lookit-secrets.env: DB_PASSWORD"
DECRYPTS = "decrypts to a secret, outside the places of encrypted files, where no rotation would reach it"
PLAINTEXT = FOLDER.format("staging") + "/lookit-secrets.env"


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path) -> Checkout:
    return new_checkout(kms, tmp_path / "checkout")


def stage(checkout: Checkout, path: str, content: bytes) -> None:
    target = checkout.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    checkout.git("add", "-f", path)


def a_copy(checkout: Checkout) -> bytes:
    return checkout.encrypted().read_bytes()


def a_raw_copy(checkout: Checkout) -> bytes:
    checkout.seal("production", PLAINTEXTS, Form.RAW)
    raw = checkout.encrypted("production").read_bytes()
    checkout.git("checkout", "--", ".")
    return raw


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        (PLAINTEXT, b"A=1\n", "is a decrypted secret file by its name"),
        (f"{PLAINTEXT}.bak", b"A=1\n", "is a decrypted secret file by its name"),
        ("kubernetes/overlays/staging/secrets/new.env.enc", b"A=1\n", "holds plaintext, not ciphertext"),
        ("README.md", f"The password is {CANARY}.\n".encode(), FOUND),
        ("a name\nof two lines", CANARY.encode(), FOUND),
        ("large.bin", b"\0" * 6_000_000 + CANARY.encode(), FOUND),
        ("wrapped.txt", "\n".join(textwrap.wrap(base64.b64encode(CANARY.encode()).decode(), 7)).encode(), FOUND),
        ("backup/old.enc", a_copy, "is an encrypted secret file outside its place, where no rotation would reach it"),
        ("backup/old", a_raw_copy, DECRYPTS),
    ],
    ids=["its name", "a backup's name", "no ciphertext", "value", "odd path", "large", "base64 in lines", "a copy", "a raw copy"],
)  # fmt: skip
def test_check_refuses_a_staged_secret(
    checkout: Checkout, path: str, content: bytes | Callable[[Checkout], bytes], why: str
) -> None:
    stage(checkout, path, content if isinstance(content, bytes) else content(checkout))
    for listing in (leak_check.STAGED, leak_check.TRACKED):
        with pytest.raises(Failure) as refused:
            leak_check.check(checkout.settings(), listing)
        assert refused.value.what == "1 file must not be committed."
        assert refused.value.why == f"- {path}: {why}"
        assert "A value that was ever pushed is leaked" in refused.value.next_step


@pytest.mark.parametrize(
    "variables", [{}, {"GIT_DIR": "large/.git"}], ids=["by hand", "a hook in a worktree"]
)
def test_check_refuses_a_staged_secret_within_a_larger_repository(
    kms: KmsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> None:
    checkout = new_checkout(kms, tmp_path / "large/checkout")
    shutil.rmtree(checkout.root / ".git")
    subprocess.run(["git", "init", "-q", tmp_path / "large"], check=True)
    stage(checkout, PLAINTEXT, b"A=1\n")
    for name, path in variables.items():
        monkeypatch.setenv(name, str(tmp_path / path))
    for listing in (leak_check.STAGED, leak_check.TRACKED):
        with pytest.raises(Failure) as refused:
            leak_check.check(checkout.settings(), listing)
        assert refused.value.why == f"- {PLAINTEXT}: is a decrypted secret file by its name"


def test_check_passes_what_only_looks_like_a_ciphertext(checkout: Checkout) -> None:
    stage(checkout, "notes", b"\x0a\x24\x00 and so on")
    assert leak_check.check(checkout.settings(), leak_check.STAGED) == 1


def test_check_passes_ciphertext_and_counts_what_it_saw(checkout: Checkout) -> None:
    assert leak_check.check(checkout.settings(), leak_check.TRACKED) == 8 + 4 + 1
    assert leak_check.check(checkout.settings(), leak_check.STAGED) == 0


@pytest.mark.parametrize(
    ("number", "listing", "text"),
    [
        (0, leak_check.STAGED, "No plaintext secret in 0 files about to be committed."),
        (1, leak_check.TRACKED, "No plaintext secret in 1 file committed or staged."),
    ],
)
def test_check_says_what_it_looked_at(number: int, listing: tuple[str, ...], text: str) -> None:
    assert leak_check.summary(number, listing) == text


def test_check_without_permission_still_looks_at_names_and_shapes(
    kms: KmsProcess, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    kms.set_policy({DEPLOYER: []})
    assert leak_check.check(checkout.settings(), leak_check.TRACKED) == 13
    assert "8 of 8 secrets could not be decrypted and were not looked for." in capsys.readouterr().err
    stage(checkout, PLAINTEXT, b"A=1\n")
    with pytest.raises(Failure, match="1 file must not be committed"):
        leak_check.check(checkout.settings(), leak_check.STAGED)


def test_the_task_examines_this_very_repository(here: Here) -> None:
    done = here.inv("secrets.check")
    assert done.code == 0, done.stderr
    assert "No plaintext secret in " in done.stderr


@pytest.fixture
def clone(kms: KmsProcess, tmp_path: Path) -> Checkout:
    """This repository as it lies here, with the hooks installed, and a secret in its encrypted files."""
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("runs in the environment that ./inv makes: the hooks name its programs")
    made = Checkout(kms, tmp_path / "clone")
    for path in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
        if path and (ROOT / path).is_file():
            (made.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, made.root / path)
    (made.root / ".venv").symlink_to(sys.prefix)
    for environment in ("staging", "production"):
        made.seal(environment, PLAINTEXTS)
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "Take this repository over")
    environ = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}
    subprocess.run(
        [".venv/bin/pre-commit", "install"], cwd=made.root, env=environ, check=True, capture_output=True
    )
    return made


def commit(clone: Checkout) -> "subprocess.CompletedProcess[str]":
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    environ = {**clone.environ(), "PRE_COMMIT_HOME": str(clone.root.parent / "pre-commit")}
    return subprocess.run(
        ["git", *who, "commit", "-m", "x"],
        cwd=clone.root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_installed_hook_stops_a_commit_that_holds_a_secret(clone: Checkout) -> None:
    stage(clone, PLAINTEXT, b"A=1\n")
    stage(clone, "notes.md", CANARY.encode())
    stopped = commit(clone)
    assert stopped.returncode == 1, stopped.stderr
    said = stopped.stdout + stopped.stderr
    assert f"{PLAINTEXT}: is a decrypted secret file by its name" in said
    assert f"notes.md: {FOUND}" in said
    assert CANARY not in said
    clone.git("rm", "-q", "--cached", PLAINTEXT, "notes.md")
    stage(clone, "harmless.md", b"Nothing to see.\n")
    passed = commit(clone)
    assert passed.returncode == 0, passed.stdout + passed.stderr
