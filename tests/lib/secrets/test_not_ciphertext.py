"""What lies in an encrypted file's place and is none is called what it is."""

import base64
import subprocess
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.secrets.envelope import Kind, kind_of, refuse_other
from tasks.lib.secrets.files import SecretFile

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
CIPHERTEXT = b"\x0a\x24\x00\xffciphertext"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.env", b"DB_PASSWORD=canary\n", Kind.PLAINTEXT),
        ("a.env", b"# to be filled in\r\nDB_PASSWORD=canary", Kind.PLAINTEXT),
        ("a.env", b"DB_PASSWORD=Z28tb24=", Kind.PLAINTEXT),
        ("a.json", b'{"private_key": "canary"}', Kind.PLAINTEXT),
        ("a.json", b"<html>Log in</html>", Kind.TEXT),
        ("a.env", b"<html>Log in</html>", Kind.TEXT),
        ("a.env", POINTER, Kind.POINTER),
        ("a.env", base64.b64encode(CIPHERTEXT), Kind.BASE64),
        ("a.env", base64.encodebytes(CIPHERTEXT * 30), Kind.BASE64),
        ("a.env", base64.b64encode(b"lookit-secret/1\nkey: k\n"), Kind.BASE64),
        ("a.env", CIPHERTEXT, None),
        ("a.env", b"lookit-secret/1\nkey: k\n", None),
        ("a.env", b"\x0a\x25\xff\xfe", None),
        ("a.env", b"", None),
        ("a.env", b"\n", None),
        ("a.env", b"lookit-se", None),
    ],
)  # fmt: skip
def test_the_kind_of_content_is_recognised(name: str, content: bytes, kind: Kind | None) -> None:
    assert kind_of(f"{name}.enc", content) == kind


def secret_file(folder: Path, content: bytes) -> SecretFile:
    path = folder / "a.env.enc"
    path.write_bytes(content)
    return SecretFile("a.env", "staging", "k", path, folder / "a.env", "secrets/a.env.enc")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def refusal(file: SecretFile) -> Failure:
    with pytest.raises(Failure) as caught:
        refuse_other(file, file.encrypted())
    return caught.value


def test_committed_plaintext_is_leaked_even_if_encrypted_since(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    file = secret_file(tmp_path, b"A=canary\n")
    assert refusal(file).why == "No commit here has it."
    assert refusal(file).next_step.endswith(
        "./inv secrets.encrypt a.env --environment staging --source secrets/a.env.enc"
    )

    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "by mistake")
    commit = git(tmp_path, "rev-parse", "--short", "HEAD").strip()
    git(tmp_path, "commit", "--allow-empty", "-qm", "later")

    told = refusal(file)
    assert told.what == "secrets/a.env.enc holds plaintext, not ciphertext."
    assert told.why == f"Commit {commit} has it: its values are leaked to all who can read the repository."
    assert told.next_step.startswith(
        "Change every value where it is issued, then: ./inv secrets.encrypt a.env "
    )
    assert "canary" not in str(told)


def test_without_git_plaintext_is_still_recognised(tmp_path: Path) -> None:
    assert (
        refusal(secret_file(tmp_path, b"A=canary\n")).what
        == "secrets/a.env.enc holds plaintext, not ciphertext."
    )


def test_a_git_lfs_pointer_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    assert refusal(secret_file(tmp_path, POINTER)).next_step == "git lfs pull --include secrets/a.env.enc"


def test_base64_is_decoded_by_the_command_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    file = secret_file(tmp_path / "secrets", base64.encodebytes(CIPHERTEXT))

    subprocess.run(["sh", "-c", refusal(file).next_step], cwd=tmp_path, check=True)

    assert file.encrypted() == CIPHERTEXT
    refuse_other(file, file.encrypted())
