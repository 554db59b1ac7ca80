"""The encrypted files that an environment has according to its settings, and where they lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

SUFFIX = ".enc"


@dataclass(frozen=True)
class SecretFile:
    """One secret file.

    Args:
        name: the plaintext's name, such as `lookit-secrets.env`.
        environment: the environment's name.
        key: the full name of the KMS key.
        ciphertext: where the encrypted file lies.
        plaintext: where the tree expects the plaintext.
        shown: the encrypted file's path as messages show it.
    """

    name: str
    environment: str
    key: str
    ciphertext: Path
    plaintext: Path
    shown: str

    def encrypted(self) -> bytes:
        """The content of the encrypted file.

        Raises:
            Failure: it is not there, cannot be read, or is empty.

        """
        add = f"The key's owner adds it: ./inv secrets.encrypt {self.name} --environment {self.environment}"
        try:
            content = self.ciphertext.read_bytes()
        except FileNotFoundError as error:
            raise Failure("The encrypted file is missing.", f"There is no {self.shown}.", add) from error
        except OSError as error:
            raise Failure("The encrypted file cannot be read.", str(error), f"ls -l {self.shown}") from error
        if not content:
            raise Failure("The encrypted file is empty.", f"{self.shown} has no bytes.", add)
        return content


def secret_files(settings: "Settings", environment: "Environment") -> list[SecretFile]:
    """All secret files of an environment, in the order of the settings."""
    secrets = environment.secrets
    folder = settings.root / secrets.ciphertexts
    return [
        SecretFile(
            name=name,
            environment=environment.name,
            key=settings.kms.key_name(key),
            ciphertext=folder / (name + SUFFIX),
            plaintext=settings.tree / secrets.plaintexts / name,
            shown=f"{secrets.ciphertexts}/{name}{SUFFIX}",
        )
        for name, key in secrets.files.items()
    ]
