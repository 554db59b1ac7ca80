"""What is said of a secret file; the other tests here open and seal real ones."""

import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from tasks.lib.errors import Failure, UsageError
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import decrypt_all
from tasks.lib.secrets.files import SecretFile, one_file, secret_files
from tasks.lib.secrets.plaintexts import refuse_edited, write
from tests.builders import checked_in_settings

NAME, ENVIRONMENT = "a key.json", "o'clock"


@pytest.fixture
def file(tmp_path: Path) -> SecretFile:
    folder = tmp_path / "our lab's tree"
    folder.mkdir()
    encrypted = folder / f"{NAME}.enc"
    return SecretFile(NAME, ENVIRONMENT, "key", encrypted, folder / NAME, str(encrypted))


def pasted(text: str) -> list[list[str]]:
    """The commands in a message, as a shell would split them."""
    return [shlex.split(line[line.index("./inv") :]) for line in text.splitlines()]


def test_commands_for_edited_files_can_be_pasted(file: SecretFile) -> None:
    file.ciphertext.write_bytes(b"sealed")
    file.plaintext.write_bytes(b"edited")
    environment = replace(checked_in_settings().environment("staging"), name=ENVIRONMENT)

    with pytest.raises(Failure) as refused:
        refuse_edited(environment, [file], {NAME: Secret(b"sealed")})

    encrypt = ["./inv", "secrets.encrypt", NAME, "--environment", ENVIRONMENT, "--source"]
    assert pasted(refused.value.next_step) == [
        [*encrypt, str(file.plaintext)],
        ["./inv", "decrypt", "--environment", ENVIRONMENT, "--overwrite"],
    ]


def test_commands_for_missing_files_can_be_pasted(file: SecretFile) -> None:
    with pytest.raises(Failure) as missing:
        file.encrypted()
    file.ciphertext.mkdir()
    with pytest.raises(Failure) as unreadable:
        file.encrypted()

    assert pasted(missing.value.next_step) == [
        ["./inv", "secrets.encrypt", NAME, "--environment", ENVIRONMENT]
    ]
    assert shlex.split(unreadable.value.next_step) == ["ls", "-l", str(file.ciphertext)]


def test_an_environment_without_a_folder_for_encrypted_files_has_none() -> None:
    settings = checked_in_settings(environments={"staging": {"secrets": {"ciphertexts": ""}}})
    staging, production = (settings.environment(name) for name in ("staging", "production"))

    assert secret_files(settings, staging) == []
    assert decrypt_all(settings, staging) == {}
    write([], {})
    assert len(secret_files(settings, production)) == 4
    with pytest.raises(
        UsageError, match="There is no secret file 'lookit-secrets.env' for staging"
    ) as refused:
        one_file(settings, staging, "lookit-secrets.env")
    assert refused.value.why == "The files: none."
