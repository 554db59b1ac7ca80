"""The encrypted files that an environment has according to its settings, and where they are."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.model import Environment, Settings

SUFFIX = ".enc"
# How an encrypted file begins: with our header, or as Cloud KMS's ciphertexts do, with a field of 36 bytes
# that names the key version.
MAGIC = b"lookit-secret/"
KMS_CIPHERTEXT = b"\x0a\x24"
# Seals the releases in the history (tasks/lib/deploy/releases/seal.py); no manifest reads it.
RELEASE_KEY = "release.key"


@dataclass(frozen=True)
class SecretFile:
    """One secret file: its plaintext's name, the full name of its KMS key, and its places."""

    name: str
    environment: str
    key: str
    ciphertext: Path
    plaintext: Path  # where the tree expects it
    shown: str  # the encrypted file's path in messages

    @property
    def bound_to(self) -> str:
        """The place that a ciphertext of ours is bound to, as additional authenticated data."""
        return f"{self.environment}/{self.name}"

    def command(self, verb: str, *more: str) -> str:
        """The task that does `verb` with this file, as a shell takes it."""
        return shlex.join(("./inv", f"secrets.{verb}", self.name, "--environment", self.environment, *more))

    def encrypted(self) -> bytes:
        """The content of the encrypted file; a Failure where it is missing, empty or cannot be read."""
        add = f"The key's owner adds it: {self.command('encrypt')}"
        try:
            content = self.ciphertext.read_bytes()
        except FileNotFoundError as error:
            raise Failure("The encrypted file is missing.", f"There is no {self.shown}.", add) from error
        except OSError as error:
            look = shlex.join(("ls", "-l", self.shown))
            raise Failure("The encrypted file cannot be read.", str(error), look) from error
        if not content:
            raise Failure("The encrypted file is empty.", f"{self.shown} has no bytes.", add)
        return content


def secret_files(settings: Settings, environment: Environment) -> list[SecretFile]:
    """The secret files of an environment, in the order of the settings; the release key once it exists."""
    return [
        file
        for file in known_files(settings, environment)
        if file.name != RELEASE_KEY or file.ciphertext.exists()
    ]


def known_files(settings: Settings, environment: Environment) -> list[SecretFile]:
    """The same with the release key's file even where it has not been made yet."""
    secrets = environment.secrets
    sealing = {RELEASE_KEY: secrets.release_key} if secrets.seals else {}
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
        for name, key in {**secrets.encrypted, **sealing}.items()
    ]


def one_file(settings: Settings, environment: Environment, name: str) -> SecretFile:
    """The secret file called `name`, or `name.enc`; a UsageError names those that the environment has."""
    if not name:
        raise UsageError("No file was named.", "", "See environments.….secrets.files: ./inv settings")
    return files_called(known_files(settings, environment), name, f" for {environment.name}")[0]


def files_called(files: Sequence[SecretFile], name: str, whose: str = "") -> list[SecretFile]:
    """Those of `files` that are called `name`, in every environment, or a UsageError; all, for no name."""
    wanted = Path(name).name.removesuffix(SUFFIX)
    found = [file for file in files if not name or file.name == wanted]
    if not found:
        known = ", ".join(dict.fromkeys(file.name for file in files))
        raise UsageError(
            f"There is no secret file {name!r}{whose}.",
            f"The files: {known or 'none'}.",
            "invoke.yaml lists them: environments.….secrets.files.",
        )
    return found


def strays(files: Sequence[SecretFile]) -> list[Path]:
    """Encrypted files beside `files` that are not in the settings, so that no task looks after them."""
    known = {file.ciphertext for file in files}
    folders = dict.fromkeys(file.ciphertext.parent for file in files)
    return [path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}")) if path not in known]
