"""Sealing secrets: plaintexts of an environment into the encrypted files that are checked in."""

from typing import TYPE_CHECKING

from tasks.lib.files import write_atomically
from tasks.lib.kms.client import connected
from tasks.lib.secrets.files import secret_files
from tasks.lib.secrets.formats import Form, seal
from tasks.lib.secrets.together import for_each, one_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.lib.redaction import Secret
    from tasks.lib.settings.model import Environment, Settings

CIPHERTEXT_MODE = 0o644


def encrypt_all(
    settings: "Settings",
    environment: "Environment",
    plaintexts: "Mapping[str, Secret]",
    form: Form = Form.HEADED,
) -> None:
    """Encrypt files of an environment, in parallel; all are encrypted before the first is written.

    Args:
        settings: where KMS is.
        environment: whose files they are; its settings name each file's key and folder.
        plaintexts: what to encrypt, by file name.
        form: the form to write.

    Raises:
        Failure: at least one could not be encrypted; every fault is listed, and no file was changed.

    """
    files = [file for file in secret_files(settings, environment) if file.name in plaintexts]
    with connected(settings) as kms:
        sealed, failures = for_each(kms, files, lambda file: seal(kms, file, plaintexts[file.name], form))
    if failures:
        raise one_error(f"of {environment.name} could not be encrypted", len(files), failures)
    for file in files:
        write_atomically(file.ciphertext, sealed[file.name], CIPHERTEXT_MODE)
