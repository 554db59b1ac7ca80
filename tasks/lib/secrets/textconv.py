"""Readable diffs: an encrypted file as git shows it, key names with a fingerprint in each value's place.

The fingerprint is keyed with random bytes that stay in this clone, so that it tells whether a value changed
and nothing about it, not even to someone who guesses.
"""

import hmac
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import process
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets import comparing, formats
from tasks.lib.secrets.files import SUFFIX, SecretFile, secret_files
from tasks.lib.secrets.formats import as_it_was, unseal

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

KEY_FILE = "lookit-textconv.key"
GIT_SECONDS = 10


def text_of(settings: "Settings", path: Path) -> str:
    """One line for each key of an encrypted file: its name and its value's fingerprint.

    For someone who cannot decrypt it, why not, and the ciphertext's own fingerprint: `git diff` would end
    with the first file that fails.

    Args:
        settings: where KMS is.
        path: the file, or the temporary copy of an older state of it that git makes.

    Raises:
        UsageError: there is no such file.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read.", f"{error.strerror}.") from error
    try:
        return fingerprints(*_decrypted(settings, path, content), _clone_key(settings.root))
    except Failure as failure:
        return f"not decrypted: {failure.what}\nsha256 of the ciphertext = {sha256(content).hexdigest()}"


def _decrypted(settings: "Settings", path: Path, content: bytes) -> tuple[str, Secret]:
    """Which secret file it is, and what it holds."""
    file = as_it_was(_file_of(settings, path, content), content)
    with connected(settings) as kms:
        return file.name, unseal(kms, file, content).plaintext


def fingerprints(name: str, plaintext: Secret, key: bytes) -> str:
    """The lines that stand for a plaintext."""
    lines = []
    for field, held in comparing.values(name, plaintext).items():
        text = b"|".join((name.encode(), field.encode(errors="surrogatepass"), held.value.reveal()))
        lines.append(f"{held.shown} = {hmac.digest(key, text, 'sha256').hex()[:12]}")
    return "\n".join(lines)


def _file_of(settings: "Settings", path: Path, content: bytes) -> SecretFile:
    """Which secret file this is: its header says so; a raw one is known by its name alone."""
    header = formats.parse(content).header
    known = [file for e in settings.environments.values() for file in secret_files(settings, e)]
    for file in known:
        is_it = header.bound_to == file.bound_to if header else path.name.endswith(file.name + SUFFIX)
        if is_it:
            return file
    where = header.bound_to if header else path.name
    raise Failure(
        f"{where} is no secret file of the settings.", "", "See environments.….secrets.files: ./inv settings"
    )


def _clone_key(root: Path) -> bytes:
    """The random key of this clone, made at its first use."""
    argv = ("git", "rev-parse", "--git-path", KEY_FILE)
    answer = process.run(argv, time_limit=GIT_SECONDS, cwd=root).stdout.decode().strip()
    path = root / answer
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32))
    return path.read_bytes()
