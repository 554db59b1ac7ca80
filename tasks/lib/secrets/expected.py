"""The keys and values that secret files hold, and the keys that they should hold.

`<file>.expected` in the overlay's secrets folder has every key of `<file>` with an empty value: an env file
for an env file, a JSON object for a JSON file.  Some values the application puts into an address as they are,
such as amqp://admin:PASSWORD@host: these have to fit there.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv, jsonfile
from tasks.lib.secrets.dotenv import Finding, Pair, Parsed
from tasks.lib.secrets.files import SecretFile

SUFFIX = ".expected"
WHOLE = "(the whole file)"
# # / and ? end what stands before the host, % begins an escape, [ and ] make the host invalid.
FIT = re.compile(rb"[ -~]*")
UNFIT = re.compile(rb"[#%/?\[\]]")


def expected_keys(file: SecretFile) -> list[str] | None:
    """The keys that `file` should have; None where there is no list, a Failure where that is not valid."""
    path = _list_of(file)
    if not path.exists():
        return None
    found = read(file.name, path.read_bytes())
    if found.errors:
        raise Failure(f"The list of expected keys {path} is not valid.", "\n".join(map(str, found.errors)))
    return list(found.shown)


def read(name: str, content: bytes) -> Parsed:
    """What a secret file holds; its name's ending tells the form, and one of another form has no keys."""
    if name.endswith(".env"):
        return dotenv.parse(content)
    return jsonfile.parse(content) if name.endswith(".json") else Parsed()


def values(name: str, plaintext: Secret) -> dict[str, Pair]:
    """A secret file's pairs by key; a file that has no keys has one value, all of it."""
    pairs = read(name, plaintext.reveal()).pairs
    if not pairs and not name.endswith(".env"):
        pairs = [Pair(WHOLE, plaintext.reveal(), 0)]
    return {pair.key: pair for pair in pairs}


def compare(expected: Sequence[str], found: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The keys that are missing, and those that are not expected, each as it may be shown."""
    missing = [key for key in expected if key not in found]
    return missing, [shown for key, shown in found.items() if key not in expected]


def lacking(file: SecretFile, plaintext: Secret) -> list[str]:
    """The expected keys that a plaintext of `file` has not; a Failure where the list is not valid."""
    return compare(expected_keys(file) or (), read(file.name, plaintext.reveal()).shown)[0]


def refuse_emptied(file: SecretFile, plaintext: Secret) -> None:
    """Refuse a plaintext without a single key where some are expected: a pipe that failed leaves one."""
    if (wanted := expected_keys(file)) and not read(file.name, plaintext.reveal()).pairs:
        raise Failure(
            f"{file.name} holds no key at all, so nothing was encrypted.",
            f"The manifests ask for {len(wanted)} keys of it. The encrypted file is unchanged.",
            "Find out what emptied it, such as a pipe that failed, then try again.\n"
            f"If it is meant to be empty, take the keys out of {_list_of(file)} first.",
        )


def refuse_errors(plaintexts: Mapping[str, Secret], outcome: str, next_step: str) -> None:
    """Refuse plaintexts, by file name, that kustomize or Kubernetes would refuse; all errors are listed.

    `outcome` says what therefore did not happen, such as `nothing was encrypted`.
    """
    errors = {name: read(name, text.reveal()).errors for name, text in plaintexts.items()}
    wrong = [name for name, found in errors.items() if found]
    if wrong:
        about = {name: f"{name}: " if len(plaintexts) > 1 else "" for name in wrong}
        lines = "\n".join(f"- {about[name]}{error}" for name in wrong for error in errors[name])
        verb = "is" if len(wrong) == 1 else "are"
        raise Failure(f"{', '.join(wrong)} {verb} not valid, so {outcome}.", lines, next_step)


def findings_in(name: str, plaintext: Secret) -> Sequence[Finding]:
    """What is wrong or doubtful about the form of a decrypted file."""
    return read(name, plaintext.reveal()).findings


def _list_of(file: SecretFile) -> Path:
    """Where the list of a file's expected keys is, or would be."""
    return file.plaintext.with_name(file.name + SUFFIX)


def refuse_unfit(
    file: SecretFile, plaintext: Secret, keys: Collection[str], before: Secret | None = None
) -> None:
    """Refuse values of `keys` that an address would cut or change; what `before` has too is left alone.

    Raises Failure where there is such a value; its key is named.
    """
    known = {key: held.value for key, held in values(file.name, before).items()} if before else {}
    for key, held in values(file.name, plaintext).items():
        fits = FIT.fullmatch(held.value) and not UNFIT.search(held.value)
        if key in keys and held.value != known.get(key) and not fits:
            raise Failure(
                f"The value of {held.shown} does not fit, so nothing was encrypted.",
                "The application puts it into an address as it is (guard.keys_in_addresses): "
                "# % / ? [ ] and what is not ASCII would break that.",
                f"openssl rand -hex 24 | ./inv secrets.set {held.shown} --environment {file.environment}",
            )
