"""Encrypting and decrypting the files of an environment in parallel, with all problems in one error."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from tasks.lib.background import side_by_side
from tasks.lib.errors import Failure
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import Kms, Opened, connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets.envelope import Form, seal, unseal
from tasks.lib.secrets.files import SecretFile, known_files, secret_files
from tasks.lib.settings.model import Environment, Settings

CIPHERTEXT_MODE = 0o644
# Waiting is all that these threads do; KMS allows far more calls a minute.
CALLS_AT_ONCE = 32

Result = TypeVar("Result")
Failures = dict[SecretFile, Failure]


def decrypt_all(settings: Settings, environment: Environment, suffix: str = "") -> dict[str, Secret]:
    """The plaintexts of an environment by file name, in memory; without any, KMS is not asked.

    `suffix` chooses files whose name ends so.
    Raises Failure where at least one could not be decrypted; every problem is listed.
    """
    files = [file for file in secret_files(settings, environment) if file.name.endswith(suffix)]
    if not files:
        return {}
    with connected(settings) as kms:
        opened = all_of(
            files, partial(open_file, kms), kms.close, f"of {environment.name} could not be decrypted"
        )
    return {file.name: found.plaintext for file, found in opened.items()}


def open_file(kms: Kms, file: SecretFile) -> Opened:
    """Decrypt one file as `unseal` does; a Failure where it is missing."""
    return unseal(kms, file, file.encrypted())


def encrypt_all(
    settings: Settings,
    environment: Environment,
    plaintexts: Mapping[str, Secret],
    form: Form = Form.HEADED,
) -> None:
    """Encrypt plaintexts, by file name; all are encrypted before the first is written.

    Raises Failure where at least one could not be encrypted, and no file was changed; or one cannot be
    written, and is unchanged. Every problem is listed.
    """
    files = [file for file in known_files(settings, environment) if file.name in plaintexts]
    of = f"of {environment.name} could not be"
    with connected(as_encrypter(settings)) as kms:
        sealed = all_of(
            files, lambda file: seal(kms, file, plaintexts[file.name], form), kms.close, f"{of} encrypted"
        )
    all_of(files, lambda file: _write(file, sealed[file]), lambda: None, f"{of} written")


def as_encrypter(settings: Settings) -> Settings:
    """The settings with the key owner's credentials instead of the deployer's, where settings name them."""
    google = settings.google
    if not google.encrypter_credentials_file:
        return settings
    return replace(settings, google=replace(google, credentials_file=google.encrypter_credentials_file))


def overwrite(file: SecretFile, before: bytes, sealed: bytes) -> None:
    """Replace the encrypted file that was opened by a new one.

    Raises Failure where it has changed since, or cannot be written; it is left unchanged.
    """
    if file.encrypted() != before:
        raise Failure(
            f"{file.shown} has changed since it was opened, so it was left unchanged.",
            "Another task, or git, has written it meanwhile.",
            f"See what changed ({file.command('diff')}), then try again.",
        )
    _write(file, sealed)


def _write(file: SecretFile, sealed: bytes) -> None:
    try:
        write_atomically(file.ciphertext, sealed, CIPHERTEXT_MODE)
    except OSError as error:
        look = shlex.join(("ls", "-ld", str(file.ciphertext.parent)))
        raise Failure(
            f"{file.shown} cannot be written, so it is unchanged.",
            f"{error.strerror}.",
            f"Make room (df -h shows where), or look at owner and mode: {look}",
        ) from error


def for_each(
    files: Sequence[SecretFile], work: Callable[[SecretFile], Result], stop: Callable[[], None]
) -> tuple[dict[SecretFile, Result], Failures]:
    """Do `work` for every file, in parallel; what came out and what failed, in the order of `files`.

    `stop` ends the work in progress when this is interrupted, such as closing the client.
    """

    def attempt(file: SecretFile) -> Result | Failure:
        try:
            return work(file)
        except Failure as failure:
            return failure

    outcomes = dict(zip(files, side_by_side(attempt, files, CALLS_AT_ONCE, stop), strict=True))
    failures = {file: outcome for file, outcome in outcomes.items() if isinstance(outcome, Failure)}
    return {file: outcome for file, outcome in outcomes.items() if not isinstance(outcome, Failure)}, failures


def all_of(
    files: Sequence[SecretFile], work: Callable[[SecretFile], Result], stop: Callable[[], None], failed: str
) -> dict[SecretFile, Result]:
    """The same where every file has to succeed; else one Failure: so many of them `failed`."""
    results, failures = for_each(files, work, stop)
    if failures:
        raise one_error(failed, len(files), failures)
    return results


def one_error(failed: str, number: int, failures: Mapping[SecretFile, Failure]) -> Failure:
    """The failures of some of `number` files as one, those that say the same only once."""
    several = len({file.environment for file in failures}) > 1
    groups: dict[str, list[SecretFile]] = {}
    for file, failure in failures.items():
        groups.setdefault(str(failure), []).append(file)
    lines: list[str] = []
    steps: dict[str, None] = {}
    for files in groups.values():
        failure = failures[files[0]]
        names = ", ".join(file.bound_to if several else file.name for file in files)
        lines += [f"- {names}: {failure.what}", *(f"  {line}" for line in failure.why.splitlines())]
        steps |= dict.fromkeys(failure.next_step.splitlines())
    count = f"{len(failures)} of {number}" if number > 1 else "The"
    return Failure(f"{count} secret{'s' * (number > 1)} {failed}.", "\n".join(lines), "\n".join(steps))
