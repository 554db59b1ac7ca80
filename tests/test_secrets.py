"""The secrets' tasks as a whole: the program's command line, the real KMS process, a real git repository."""

import itertools
import json
import shlex
import shutil
import signal
import stat
from pathlib import Path

import pytest

from tasks.lib.redaction import Secret
from tasks.lib.secrets.envelope import Form, parse
from tests.builders import ROOT
from tests.clock import Clock
from tests.heard import heard
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess, make_key
from tests.program import Here
from tests.secrets_program import CANARY, FOLDER, PLAINTEXTS, Checkout, new_checkout

serial = itertools.count()
STAGING = ("--environment", "staging")


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path, here: Here) -> Checkout:
    return new_checkout(kms, tmp_path, here=here)


@pytest.fixture
def own_key(kms: KmsProcess, tmp_path: Path, here: Here) -> Checkout:
    """A checkout whose key no other test touches."""
    return new_checkout(kms, tmp_path, make_key(kms, f"tasks-{next(serial)}"), here)


def script(folder: Path, text: str) -> str:
    """An editor."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_encrypt_takes_what_decrypt_wrote(checkout: Checkout) -> None:
    assert checkout.run("decrypt", *STAGING).code == 0
    plaintext = checkout.root / FOLDER.format("staging") / "lookit-secrets.env"
    plaintext.write_bytes(b"DB_HOST=other\nDB_PASSWORD=x\n")
    before = checkout.everything()
    done = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING)
    assert done.code == 0, done.stderr
    assert done.stderr.endswith("Encrypted for staging: lookit-secrets.env\n")
    changed = [path.name for path, content in checkout.everything().items() if content != before[path]]
    assert changed == ["lookit-secrets.env.enc"]
    assert checkout.opened()["lookit-secrets.env"].reveal() == b"DB_HOST=other\nDB_PASSWORD=x\n"


def test_encrypt_writes_the_raw_form_on_request(checkout: Checkout) -> None:
    source = checkout.root / "given.env"
    source.write_bytes(b"DB_HOST=a\n")
    done = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING, "--raw", "--source", str(source))
    assert done.code == 0, done.stderr
    assert parse(checkout.encrypted().read_bytes()).form is Form.RAW
    assert checkout.opened()["lookit-secrets.env"].reveal() == b"DB_HOST=a\n"


def test_encrypt_refuses_a_file_that_kubernetes_would_refuse(checkout: Checkout) -> None:
    source = checkout.root / "given.env"
    source.write_bytes(f"A=1\nA={CANARY}\n".encode())
    before = checkout.everything()
    done = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING, "--source", str(source))
    assert done.code == 1
    assert "lookit-secrets.env is not valid, so nothing was encrypted." in done.stderr
    assert "line 2: A is there twice: it is on line 1 already" in done.stderr
    assert checkout.everything() == before


def test_encrypt_all_lists_the_errors_of_every_file(checkout: Checkout) -> None:
    folder = checkout.root / FOLDER.format("staging")
    (folder / "lookit-secrets.env").write_bytes(f"A=1\nA={CANARY}\n".encode())
    (folder / "googleAppCreds.json").write_bytes(b"{")
    before = checkout.everything()
    done = checkout.run("secrets.encrypt", "--all", *STAGING)
    assert done.code == 1
    assert "lookit-secrets.env, googleAppCreds.json are not valid, so nothing was encrypted." in done.stderr
    assert "- lookit-secrets.env: line 2: A is there twice: it is on line 1 already" in done.stderr
    assert "- googleAppCreds.json: line 1: not JSON" in done.stderr
    assert checkout.everything() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name one file, or all of them"),
        (("lookit-secrets.env", "--all"), "Name one file, or all of them"),
        (("--all", "--source", "x"), "Name one file, or all of them"),
        (("lookit-secrets.env",), "does not exist."),
        (("lookit-secrets.env", "--source", "/"), "- / is not a file."),
        (("no-such.env",), "There is no secret file 'no-such.env' for staging."),
    ],
)
def test_encrypt_refuses_unclear_arguments(checkout: Checkout, arguments: tuple[str, ...], said: str) -> None:
    done = checkout.run("secrets.encrypt", *arguments, *STAGING)
    assert (done.code, said in done.stderr) == (2, True), done.stderr


def test_encrypt_refuses_an_emptied_file_and_names_missing_keys(checkout: Checkout) -> None:
    """`kubectl … > FILE` that fails leaves it empty, and all secrets would be gone."""
    source, before = checkout.root / "given.env", checkout.everything()
    source.touch()
    emptied = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING, "--source", str(source))
    assert (emptied.code, checkout.everything()) == (1, before)
    assert "lookit-secrets.env holds no key at all, so nothing was encrypted." in emptied.stderr

    source.write_bytes(b"DB_HOST=a\n")
    lacking = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING, "--source", str(source))
    assert lacking.code == 0
    assert "lookit-secrets.env: lacks DB_PASSWORD, which the manifests ask for" in lacking.stderr


def test_encrypt_needs_the_encrypters_role_only(kms: KmsProcess, checkout: Checkout) -> None:
    kms.set_policy({DEPLOYER: [], "key-owner@lookit-sandbox.iam.gserviceaccount.com": [
        "roles/cloudkms.cryptoKeyEncrypter"]})  # fmt: skip
    source = checkout.root / "given.env"
    source.write_bytes(b"DB_HOST=a\n")
    done = checkout.run("secrets.encrypt", "lookit-secrets.env", *STAGING, "--source", str(source))
    assert done.code == 0, done.stderr


def test_edit_encrypts_what_the_editor_changed_and_leaves_no_copy(checkout: Checkout, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    editor = script(tmp_path, f'echo "$1" > {seen}; stat -c "%a" "$1" >> {seen}; sed -i s/=db/=other/ "$1"')
    done = checkout.run("secrets.edit", "lookit-secrets.env", *STAGING, EDITOR=editor, VISUAL="")
    assert done.code == 0, done.stderr
    assert (
        checkout.opened()["lookit-secrets.env"].reveal() == f"DB_HOST=other\nDB_PASSWORD={CANARY}\n".encode()
    )
    path, mode = seen.read_text().split()
    assert (path.startswith("/dev/shm/"), mode) == (Path("/dev/shm").is_dir(), "600")
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    ("editing", "code", "said"),
    [
        ("true", 0, "unchanged"),
        ("echo A=1 > $1; exit 3", 1, "exited with 3.\n  why:  The encrypted file is unchanged."),
        ("printf 'A=1\\nA=2\\n' > $1", 1, "line 2: A is there twice: it is on line 1 already"),
        ("kill -9 $PPID", -9, ""),
        ("rm $1", 1, "The editor left no file."),
        ("printf 'A=\\377' > $1", 1, "line 1: not UTF-8 at byte 3"),
        ("> $1", 1, "lookit-secrets.env holds no key at all, so nothing was encrypted."),
    ],
    ids=["unchanged", "editor fails", "text not valid", "killed", "file removed", "no text", "emptied"],
)
def test_edit_keeps_the_old_file(
    checkout: Checkout, tmp_path: Path, editing: str, code: int, said: str
) -> None:
    before = checkout.everything()
    run = checkout.run_apart if "kill" in editing else checkout.run
    done = run("secrets.edit", "lookit-secrets.env", *STAGING, EDITOR=script(tmp_path, editing), VISUAL="")
    assert done.code == code
    assert said in done.stderr
    assert checkout.everything() == before


@pytest.mark.parametrize(
    ("editor", "code", "said"),
    [
        ("", 2, "No editor is chosen."),
        ("'nano", 2, "The editor's command cannot be read."),
        ("no-such-editor", 2, "The editor no-such-editor cannot be started."),
        ("/etc/passwd", 2, "The editor /etc/passwd cannot be started."),
    ],
)
def test_edit_says_what_is_wrong_with_the_editor(
    checkout: Checkout, editor: str, code: int, said: str
) -> None:
    before = checkout.everything()
    done = checkout.run("secrets.edit", "lookit-secrets.env", *STAGING, EDITOR=editor, VISUAL="")
    assert (done.code, said in done.stderr) == (code, True), done.stderr
    assert checkout.everything() == before


def test_edit_does_not_overwrite_what_somebody_else_changed(checkout: Checkout, tmp_path: Path) -> None:
    theirs = checkout.root / "theirs.enc"
    checkout.seal("staging", {"lookit-secrets.env": Secret(b"DB_HOST=theirs\n")})
    theirs.write_bytes(checkout.encrypted().read_bytes())
    checkout.git("checkout", "--", ".")
    editor = script(tmp_path, f'sed -i s/=db/=ours/ "$1"; cp {theirs} {checkout.encrypted()}')
    done = checkout.run("secrets.edit", "lookit-secrets.env", *STAGING, EDITOR=editor, VISUAL="")
    assert done.code == 1
    assert "has changed since it was opened, so it was left unchanged." in done.stderr
    assert checkout.encrypted().read_bytes() == theirs.read_bytes()


def test_edit_keeps_the_old_file_when_kms_refuses(
    kms: KmsProcess, checkout: Checkout, tmp_path: Path
) -> None:
    kms.set_faults({"rpc": "Encrypt", "code": "PERMISSION_DENIED", "message": "Permission 'x' denied."})
    before = checkout.everything()
    editor = script(tmp_path, 'sed -i s/=db/=other/ "$1"')
    done = checkout.run("secrets.edit", "lookit-secrets.env", *STAGING, EDITOR=editor, VISUAL="")
    assert done.code == 1
    assert checkout.everything() == before


@pytest.mark.parametrize(("answer", "code", "text"), [("y\n", 0, b"DB_HOST=second\n"), ("n\n", 1, b"")])
def test_edit_at_a_terminal_loses_nobodys_typing(
    checkout: Checkout, tmp_path: Path, *, answer: str, code: int, text: bytes
) -> None:
    """The first text is not valid; the second one is there when the editor opens again."""
    import os
    import pty
    import subprocess

    editing = (
        'if grep -q first "$1"; then echo DB_HOST=second > "$1"; else printf "A=1\\nA=first\\n" > "$1"; fi'
    )
    environ = checkout.environ(EDITOR=script(tmp_path, editing), VISUAL="")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        checkout.command("secrets.edit", "lookit-secrets.env", *STAGING), cwd=ROOT, env=environ,
        stdin=theirs, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with heard(process) as running:
        running.moment_of("Open the editor again? [Y/n]")
        os.write(ours, answer.encode())
        assert running.end() == code
    for end in (ours, theirs):
        os.close(end)
    assert checkout.opened()["lookit-secrets.env"].reveal() == (
        text or PLAINTEXTS["lookit-secrets.env"].reveal()
    )


def test_set_reads_the_value_from_stdin_and_finds_the_file(checkout: Checkout) -> None:
    done = checkout.run("secrets.set", "rabbitmq-erlang-cookie", *STAGING, stdin="new value\n")
    assert done.code == 0, done.stderr
    assert done.stderr.endswith("lookit-rabbitmq.env.enc: rabbitmq-erlang-cookie set\n")
    assert checkout.opened()["lookit-rabbitmq.env"].reveal() == b"rabbitmq-erlang-cookie=new value\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("DB_HOST=x",), "", 2, "The value of DB_HOST is on the command line."),
        (("DB_HOST=x", "--in-history"), "", 0, "DB_HOST set"),
        (("DB_HOST=-",), "y", 0, "DB_HOST set"),
        (("DB_HOST",), "db\n", 0, "DB_HOST already has that value"),
        (("DB_HOST",), "two\nlines\n", 2, "An env file cannot have the value of DB_HOST."),
        (("NEW_KEY",), "x", 2, "NEW_KEY is not in any .expected list."),
        (("NEW_KEY", "--file", "lookit-secrets.env"), "a value", 2, "NEW_KEY is not in the .expected list"),
        (("NEW_KEY", "--file", "lookit-secrets.env", "--new"), "a value", 0, "NEW_KEY set"),
        (("DB_HOSTT",), "a value", 2, "Did you mean DB_HOST?"),
        (("DB_HOSTT", "--file", "lookit-secrets.env"), "a value", 2, "Did you mean DB_HOST?"),
        (
            ("DB_HOST",),
            "a value # b",
            0,
            "DB_HOST has a # after a space: the comment is part of the value",
        ),
        (("type", "--file", "googleAppCreds.json"), "a value", 2, "googleAppCreds.json is not an env file."),
        (("DB_PASSWORD",), "12345", 2, "The value for DB_PASSWORD is shorter than 6 characters"),
        (("DB_PASSWORD", "--short"), "12345", 0, "DB_PASSWORD set"),
        (("DB_HOST",), "", 2, "No value was given for DB_HOST, so nothing was changed."),
        (("DB_HOST",), "\n", 2, "No value was given for DB_HOST, so nothing was changed."),
        (("DB_HOST",), "x\r\n", 2, "The value of DB_HOST ends in a carriage return."),
        (("#DB_HOST", "--file", "lookit-secrets.env"), "a value", 2, "An env file cannot have this key."),
        (("1", "--file", "lookit-secrets.env"), "a value", 2, "An env file cannot have this key."),
        (("", "--file", "lookit-secrets.env"), "x", 2, "No key was named."),
    ],
)
def test_set_says_what_it_did(
    checkout: Checkout, arguments: tuple[str, ...], stdin: str, code: int, said: str
) -> None:
    before = checkout.everything()
    done = checkout.run("secrets.set", *arguments, *STAGING, stdin=stdin)
    assert (done.code, said in done.stderr) == (code, True), done.stderr
    assert (checkout.everything() == before) == (code == 2 or "already" in said)


def test_set_makes_a_value_empty_only_on_purpose(checkout: Checkout) -> None:
    done = checkout.run("secrets.set", "DB_HOST=", "--in-history", *STAGING, stdin="not read")
    assert done.code == 0, done.stderr
    assert checkout.opened()["lookit-secrets.env"].reveal() == f"DB_HOST=\nDB_PASSWORD={CANARY}\n".encode()


def test_diff_names_keys_and_shows_values_only_on_request(checkout: Checkout) -> None:
    changed = f"DB_PASSWORD=new-{CANARY}\nADDED=1\nDB_HOST=db\n".encode()
    checkout.seal("staging", {"lookit-secrets.env": Secret(changed)})
    done = checkout.run("secrets.diff", *STAGING)
    assert done.stdout.splitlines()[:3] == [
        "staging/lookit-secrets.env  DB_HOST  unchanged",
        "staging/lookit-secrets.env  DB_PASSWORD  changed",
        "staging/lookit-secrets.env  ADDED  added",
    ]
    assert CANARY not in done.stdout
    assert f"'{CANARY}' → 'new-{CANARY}'" in checkout.run("secrets.diff", *STAGING, "--show").stdout


def test_diff_refuses_a_revision_that_git_does_not_know(checkout: Checkout) -> None:
    done = checkout.run("secrets.diff", "no-such-branch", *STAGING)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("git knows no commit 'no-such-branch' here.\n")


@pytest.mark.parametrize("form", list(Form))
def test_diff_looks_back_over_a_move_to_another_key(kms: KmsProcess, own_key: Checkout, form: Form) -> None:
    """A header names the key of its time; a raw file says nothing, which is told."""
    own_key.seal("staging", PLAINTEXTS, form)
    own_key.git("add", "-A")
    own_key.git("commit", "-q", "-m", "As it was", "--allow-empty")
    moved = own_key.with_key(make_key(kms, f"tasks-{next(serial)}"))
    moved.seal("staging", {**PLAINTEXTS, "lookit-secrets.env": Secret(b"DB_HOST=other\n")})
    done = moved.run("secrets.diff", "HEAD", *STAGING)
    if form is Form.RAW:
        assert done.code == 1
        assert "It was encrypted with another key than " in done.stderr
    else:
        assert done.stdout.splitlines()[:2] == [
            "staging/lookit-secrets.env  DB_HOST  changed", "staging/lookit-secrets.env  DB_PASSWORD  removed",
        ]  # fmt: skip


def test_verify_passes_what_is_in_order(checkout: Checkout) -> None:
    done = checkout.run("secrets.verify", "--json")
    assert done.code == 0, done.stderr
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == 8
    assert verdicts[0] == {
        "environment": "staging", "file": "lookit-secrets.env", "state": "good", "form": "headed",
        "version": "primary", "problems": [], "remarks": [], "next_step": "",
    }  # fmt: skip


def test_verify_tells_broken_from_stale(kms: KmsProcess, own_key: Checkout) -> None:
    client = kms.client()
    client.create_crypto_key_version(parent=own_key.key, crypto_key_version={})
    client.update_crypto_key_primary_version(name=own_key.key, crypto_key_version_id="2")
    stale = own_key.run("secrets.verify")
    assert stale.code == 3
    assert "8 of 8 secret files need attention." in stale.stderr
    own_key.encrypted("staging").write_bytes(own_key.encrypted("production").read_bytes())
    own_key.seal("production", {"lookit-secrets.env": Secret(b"DB_HOST=x\nEXTRA=1\n")})
    broken = own_key.run("secrets.verify", "--json")
    assert broken.code == 1
    found = {(v["environment"], v["file"]): v for v in json.loads(broken.stdout)}
    assert found["staging", "lookit-secrets.env"]["problems"][0] == (
        "The encrypted file belongs to production/lookit-secrets.env, not to staging/lookit-secrets.env."
    )
    assert found["production", "lookit-secrets.env"]["problems"] == ["DB_PASSWORD is missing"]
    assert found["production", "lookit-secrets.env"]["remarks"] == ["EXTRA is not in the .expected list"]
    assert found["production", "googleAppCreds.json"]["version"] == "older"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"code": "UNAVAILABLE", "message": "Away."}, "Cloud KMS does not answer at "),
        ({"rpc": "Decrypt", "hang": True}, "Cloud KMS does not answer at "),
        ({"rpc": "Decrypt", "code": "RESOURCE_EXHAUSTED", "message": "Quota."}, "The quota of Cloud KMS is used up"),
        ({"rpc": "Decrypt", "code": "PERMISSION_DENIED", "message": "Permission 'x' denied."}, "You may not decrypt with"),
        ({"rpc": "Decrypt", "spoil": "plaintext_crc32c"}, "Bytes were damaged between here and Cloud KMS"),
    ],
    ids=["away", "hanging", "quota", "no role", "damaged answers"],
)  # fmt: skip
def test_verify_calls_nothing_broken_that_it_could_not_examine(
    kms: KmsProcess, kms_clock: Clock, checkout: Checkout, fault: dict[str, object], problem: str
) -> None:
    kms.set_faults(fault)
    # What hangs is given up soon; any other answer may take as long as a busy machine needs for it.
    attempt = {"INVOKE_TIME_LIMITS_KMS_ATTEMPT": "0.2s"} if "hang" in fault else {}
    limits = {"INVOKE_TIME_LIMITS_KMS": "1s" if "hang" in fault else "30s", **attempt}
    done = checkout.run("secrets.verify", "--json", **limits)
    assert (done.code, "8 of 8 secret files could not be examined." in done.stderr) == (1, True)
    for verdict in json.loads(done.stdout):
        assert (verdict["state"], verdict["problems"][0].startswith(problem)) == ("unknown", True)


def test_verify_tells_broken_from_unknown_in_one_run(kms: KmsProcess, checkout: Checkout) -> None:
    checkout.encrypted().write_bytes(b"lookit-secret/1\n")
    checkout.encrypted("production").unlink()
    kms.set_faults({"rpc": "Decrypt", "code": "RESOURCE_EXHAUSTED", "message": "Quota.", "skip": 4})
    done = checkout.run("secrets.verify", "--json")
    states = [verdict["state"] for verdict in json.loads(done.stdout)]
    assert (done.code, states.count("broken"), states.count("unknown"), states.count("good")) == (
        1,
        2,
        2,
        4,
    )
    assert "2 of 8 secret files are broken. 2 of 8 secret files could not be examined." in done.stderr


def test_verify_names_disabled_versions_and_missing_keys(kms: KmsProcess, own_key: Checkout) -> None:
    kms.client().update_crypto_key_version(
        crypto_key_version={"name": f"{own_key.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    disabled = own_key.run("secrets.verify", *STAGING, "--json")
    assert {v["state"] for v in json.loads(disabled.stdout)} == {"broken"}
    assert "gcloud kms keys versions enable 1" in disabled.stderr
    elsewhere = own_key.with_key(f"{own_key.key}-absent")
    kms.grant(DEPLOYER, "roles/cloudkms.cryptoKeyDecrypter", "roles/cloudkms.viewer")
    absent = elsewhere.run("secrets.verify", *STAGING, "--json")
    assert absent.code == 1
    assert {(v["state"], v["problems"][0]) for v in json.loads(absent.stdout)} == {
        ("broken", f"The key {own_key.key.rsplit('/', 1)[1]}-absent does not exist.")
    }


def test_verify_and_rotate_name_unknown_files(checkout: Checkout) -> None:
    stray = checkout.encrypted(name="old.env")
    stray.write_bytes(checkout.encrypted().read_bytes())
    done = checkout.run("secrets.verify", "--json")
    assert done.code == 3
    assert "1 of 9 secret files need attention." in done.stderr
    assert json.loads(done.stdout)[-1] == {
        "environment": "staging", "file": "old.env", "state": "stale", "form": "", "version": "", "problems": [],
        "remarks": ["not in the settings, so no task looks after it"], "next_step": "",
    }  # fmt: skip
    assert "old.env.enc was skipped: it is not in the settings." in checkout.run("secrets.rotate").stderr


def test_verify_prints_a_table_for_people(checkout: Checkout) -> None:
    checkout.seal("staging", {"lookit-secrets.env": Secret(f"DB_HOST={CANARY}\r\nEXTRA=\n".encode())})
    done = checkout.run("secrets.verify", *STAGING, COLUMNS="200")
    assert (done.code, done.stdout) == (1, "")
    for said in (
        "DB_PASSWORD is missing",
        "EXTRA is not in the .expected list",
        "line 1: ends in CR LF",
        "line 2: EXTRA is empty",
    ):
        assert said in done.stderr
    assert "next: Fix it: ./inv secrets.edit lookit-secrets.env --environment staging" in done.stderr


def test_verify_shows_the_primary_version_if_permitted(kms: KmsProcess, checkout: Checkout) -> None:
    kms.grant(DEPLOYER, "roles/cloudkms.cryptoKeyDecrypter", "roles/cloudkms.viewer")
    done = checkout.run("secrets.verify", *STAGING, "--json")
    assert {verdict["version"] for verdict in json.loads(done.stdout)} == {"1"}


def test_rotate_makes_a_version_and_moves_every_file_to_it(kms: KmsProcess, own_key: Checkout) -> None:
    own_key.seal("staging", {"lookit-secrets.env": PLAINTEXTS["lookit-secrets.env"]}, Form.RAW)
    done = own_key.run("secrets.rotate", "--new-version")
    assert done.code == 0, done.stderr
    assert done.stderr.count("re-encrypted and verified") == 8
    name = own_key.key.rsplit("/", 1)[1]
    assert f"gcloud kms keys versions disable 1 --key {name}" in done.stderr
    assert "disable 2" not in done.stderr
    assert own_key.opened() == PLAINTEXTS
    assert parse(own_key.encrypted().read_bytes()).form is Form.RAW
    client = kms.client()
    client.update_crypto_key_version(
        crypto_key_version={"name": f"{own_key.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    assert own_key.opened("production") == PLAINTEXTS


def test_rotate_names_the_command_that_lists_versions_without_permission(
    kms: KmsProcess, own_key: Checkout
) -> None:
    kms.set_policy(
        {DEPLOYER: ["roles/cloudkms.cryptoKeyDecrypter"], KEY_OWNER: ["roles/cloudkms.cryptoKeyEncrypter"]}
    )
    done = own_key.run("secrets.rotate")
    name = own_key.key.rsplit("/", 1)[1]
    assert done.code == 0, done.stderr
    assert f"gcloud kms keys versions list --key {name} --keyring lookit-keyring" in done.stderr


def test_rotate_of_one_environment_names_no_version_to_disable(own_key: Checkout) -> None:
    done = own_key.run("secrets.rotate", *STAGING, "--new-version")
    assert done.code == 0, done.stderr
    assert done.stderr.count("re-encrypted") == 4
    assert "versions disable" not in done.stderr


def test_rotate_again_has_nothing_to_do(own_key: Checkout) -> None:
    before = own_key.everything()
    done = own_key.run("secrets.rotate")
    assert done.stderr.count("nothing to do") == 8
    assert own_key.everything() == before


@pytest.mark.parametrize(
    "fault",
    [
        {"rpc": "Encrypt", "skip": 3, "code": "RESOURCE_EXHAUSTED", "message": "Quota exceeded."},
        {"rpc": "Encrypt", "skip": 2, "times": 3, "hang": True},
        {"rpc": "Decrypt", "skip": 10, "spoil": "plaintext_crc32c"},
        {"rpc": "Encrypt", "skip": 3, "spoil": "ciphertext"},
    ],
    ids=["quota", "hanging", "answers damaged", "ciphertexts damaged"],
)
def test_a_failed_rotation_is_finished_by_the_next(
    kms: KmsProcess, kms_clock: Clock, own_key: Checkout, fault: dict[str, object]
) -> None:
    client = kms.client()
    client.create_crypto_key_version(parent=own_key.key, crypto_key_version={})
    client.update_crypto_key_primary_version(name=own_key.key, crypto_key_version_id="2")
    kms.set_faults(fault)
    attempt = {"INVOKE_TIME_LIMITS_KMS_ATTEMPT": "0.5s"} if "hang" in fault else {}
    own_key.run("secrets.rotate", INVOKE_TIME_LIMITS_KMS="3s", **attempt)
    kms.set_faults()
    assert own_key.opened() == PLAINTEXTS
    assert own_key.opened("production") == PLAINTEXTS
    again = own_key.run("secrets.rotate")
    assert again.code == 0, again.stderr
    assert own_key.run("secrets.verify").code == 0


@pytest.mark.parametrize("form", list(Form))
def test_rekey_moves_every_file_and_can_be_repeated(kms: KmsProcess, own_key: Checkout, form: Form) -> None:
    for environment in ("staging", "production"):
        own_key.seal(environment, PLAINTEXTS, form)
    other = make_key(kms, f"tasks-{next(serial)}")
    kms.set_faults({"rpc": "Encrypt", "skip": 5, "code": "RESOURCE_EXHAUSTED", "message": "Quota exceeded."})
    first = own_key.run("secrets.rekey", "--to", other)
    assert first.code == 1
    assert "3 of 8 secrets still have their old key; run it again for them." in first.stderr
    kms.set_faults()
    second = own_key.run("secrets.rekey", "--to", other)
    assert second.code == 0, second.stderr
    assert (second.stderr.count("re-encrypted"), second.stderr.count("nothing to do")) == (3, 5)
    assert own_key.with_key(other).opened() == PLAINTEXTS


def test_exec_gives_one_child_the_values(checkout: Checkout) -> None:
    done = checkout.run_apart("secrets.exec", *STAGING, "--", "sh", "-c", 'echo "$DB_PASSWORD"; exit 7')
    assert (done.code, done.stdout) == (7, f"{CANARY}\n")


def test_exec_without_a_command_is_bad_usage(checkout: Checkout) -> None:
    assert checkout.run("secrets.exec", *STAGING).code == 2
    missing = checkout.run("secrets.exec", *STAGING, "--", "no-such-program-here")
    assert missing.code == 1
    assert "The program no-such-program-here was not found." in missing.stderr
    assert "next: Give its path, or put it on PATH." in missing.stderr


@pytest.mark.parametrize(
    ("program", "why"), [("/etc/passwd", "Permission denied."), ("/", "Permission denied.")]
)
def test_exec_says_what_cannot_be_started(checkout: Checkout, program: str, why: str) -> None:
    done = checkout.run("secrets.exec", *STAGING, "--", program)
    assert (done.code, done.stdout) == (1, "")
    assert f"The program {program} cannot be started.\n  why:  {why}" in done.stderr


def test_exec_leaves_no_signal_ignored_that_python_ignores(checkout: Checkout) -> None:
    shell = ("sh", "-c", "yes | head -1; sed -n s/SigIgn:.//p /proc/self/status")
    done = checkout.run_apart("secrets.exec", *STAGING, "--", *shell)
    assert (done.code, done.stderr) == (0, "")
    word, ignored = done.stdout.split()
    by_python = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
    assert (word, int(ignored, 16) & by_python) == ("y", 0)


def test_log_names_commits_files_and_the_audit_log(checkout: Checkout) -> None:
    checkout.seal("staging", {"lookit-secrets.env": Secret(b"DB_HOST=2\n")})
    checkout.git("commit", "-qam", "Change the host")
    done = checkout.run("secrets.log", "lookit-secrets.env", *STAGING)
    lines = done.stdout.splitlines()
    assert lines[0].endswith("Key Owner <owner@example.org>  Change the host")
    assert lines[1] == "    kubernetes/overlays/staging/secrets/lookit-secrets.env.enc changed"
    assert lines[3] == "    kubernetes/overlays/staging/secrets/lookit-secrets.env.enc added"
    assert f'protoPayload.resourceName:"{KEY}"' in done.stderr


def test_log_takes_the_encrypted_file_s_name_and_refuses_others(checkout: Checkout) -> None:
    done = checkout.run("secrets.log", "lookit-secrets.env.enc", *STAGING)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["secrets", "added"]
    refused = checkout.run("secrets.log", "no-such.env")
    assert (refused.code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("There is no secret file 'no-such.env'.\n")


@pytest.mark.parametrize(
    "name", ["projects/p/keys/k", f"{KEY}/cryptoKeyVersions/1"], ids=["other", "version"]
)
def test_rekey_to_something_else_than_a_key_is_bad_usage(checkout: Checkout, name: str) -> None:
    before = checkout.everything()
    done = checkout.run("secrets.rekey", "--to", name)
    assert (done.code, " is not the name of a key." in done.stderr) == (2, True)
    assert checkout.everything() == before


def test_git_shows_readable_diffs_by_textconv(checkout: Checkout) -> None:
    """As docs/secrets.md sets it up, but for the checkout, whose settings are told to the program."""
    checkout.seal("staging", PLAINTEXTS, Form.RAW)  # which says nothing of where it belongs
    checkout.git("commit", "-qam", "Seal again")
    (checkout.root / ".git/info/attributes").write_text("*.enc diff=lookit\n")
    command = shlex.join(["env", "-C", str(ROOT), *checkout.command("secrets.textconv")])
    checkout.git("config", "diff.lookit.textconv", f'{command} "$(realpath "$1")" #')
    other = {"lookit-secrets.env": Secret(f"DB_HOST=db\nDB_PASSWORD=x{CANARY}\n".encode())}
    checkout.seal("staging", other, Form.RAW)
    shown = checkout.git("diff", **checkout.environ())
    changed = [line[:13] for line in shown.splitlines() if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    assert changed == ["-DB_PASSWORD ", "+DB_PASSWORD "]
    assert " DB_HOST = " in shown
    assert CANARY not in shown


def test_textconv_refuses_a_file_that_is_not_there(checkout: Checkout) -> None:
    done = checkout.run("secrets.textconv", "/no/such/file")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("/no/such/file cannot be read.\n")


def test_textconv_without_permission_shows_the_ciphertexts_fingerprint(checkout: Checkout) -> None:
    checkout.kms.set_policy({DEPLOYER: []})
    shown = checkout.run("secrets.textconv", str(checkout.encrypted())).stdout
    assert shown.startswith("not decrypted: You may not decrypt with the key kubernetes-secrets")
    assert "\nsha256 of the ciphertext = " in shown


def test_textconv_shows_keys_and_fingerprints(
    checkout: Checkout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blob = shutil.copy(checkout.encrypted(), tmp_path_factory.mktemp("git-blob"))  # as git hands one over
    lines = checkout.run("secrets.textconv", str(blob)).stdout.splitlines()
    assert [line.split(" = ")[0] for line in lines] == ["DB_HOST", "DB_PASSWORD"]
    checkout.seal("staging", {"lookit-secrets.env": Secret(b"DB_HOST=db\nDB_PASSWORD=other\n")})
    again = checkout.run("secrets.textconv", str(checkout.encrypted())).stdout.splitlines()
    assert [old == new for old, new in zip(lines, again, strict=True)] == [True, False]


def test_plaintext_modes_never_widen(checkout: Checkout) -> None:
    checkout.run("decrypt", *STAGING)
    checkout.run("decrypt", *STAGING)
    mode = (checkout.root / FOLDER.format("staging") / "lookit-secrets.env").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
