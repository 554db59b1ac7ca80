"""The keys and values that secret files hold, and the keys that they should hold.

`<file>.expected` in the overlay's secrets folder has every key of `<file>` with an empty value: an env file
for an env file, a JSON object for a JSON file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv, jsonfile
from tasks.lib.secrets.dotenv import Finding, Severity
from tasks.lib.secrets.files import SecretFile

SUFFIX = ".expected"
WHOLE = "(the whole file)"


@dataclass(frozen=True)
class Held:
    """The value of a key, and how messages may show the key."""

    shown: str
    value: Secret


@dataclass(frozen=True)
class Comparison:
    """Keys that a file lacks, and keys that it has and that are not in its list."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def expected_keys(file: SecretFile) -> list[str] | None:
    """The keys that `file` should have; None where there is no list, a Failure where that is not valid."""
    path = _list_of(file)
    if not path.exists():
        return None
    keys, findings = keys_in(file.name, path.read_bytes())
    if errors := [finding for finding in findings if finding.severity is Severity.ERROR]:
        raise Failure(f"The list of expected keys {path} is not valid.", "\n".join(map(str, errors)))
    return list(keys)


def keys_in(name: str, content: bytes) -> tuple[dict[str, str], list[Finding]]:
    """Each key of a secret file with how it may be shown, and the findings; the name's ending tells the form.

    A file of another form has no keys.
    """
    if name.endswith(".env"):
        env = dotenv.parse(content)
        return {pair.key: pair.shown for pair in env.pairs}, list(env.findings)
    if name.endswith(".json"):
        held = jsonfile.parse(content)
        return {member.key: member.shown for member in held.members}, list(held.findings)
    return {}, []


def values(name: str, plaintext: Secret) -> dict[str, Held]:
    """A secret file's values by key; a file that has no keys has one value, all of it."""
    content = plaintext.reveal()
    if name.endswith(".env"):
        return {pair.key: Held(pair.shown, Secret(pair.value)) for pair in dotenv.parse(content).pairs}
    if name.endswith(".json") and (members := jsonfile.parse(content).members):
        shown = {member.key: member.shown for member in members}
        return {key: Held(shown[key], Secret(_as_json(value))) for key, value in json.loads(content).items()}
    return {WHOLE: Held(WHOLE, plaintext)}


def compare(expected: Sequence[str], found: Mapping[str, str]) -> Comparison:
    """What is missing and what is not expected, each key as it may be shown."""
    return Comparison(
        tuple(key for key in expected if key not in found),
        tuple(shown for key, shown in found.items() if key not in expected),
    )


def lacking(file: SecretFile, plaintext: Secret) -> tuple[str, ...]:
    """The expected keys that a plaintext of `file` has not; a Failure where the list is not valid."""
    return compare(expected_keys(file) or (), keys_in(file.name, plaintext.reveal())[0]).missing


def refuse_emptied(file: SecretFile, plaintext: Secret) -> None:
    """Refuse a plaintext without a single key where some are expected: a pipe that failed leaves one."""
    if (wanted := expected_keys(file)) and not keys_in(file.name, plaintext.reveal())[0]:
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
    errors = {
        name: [one for one in findings_in(name, text) if one.severity is Severity.ERROR]
        for name, text in plaintexts.items()
    }
    wrong = [name for name, found in errors.items() if found]
    if wrong:
        about = {name: f"{name}: " if len(plaintexts) > 1 else "" for name in wrong}
        lines = "\n".join(f"- {about[name]}{error}" for name in wrong for error in errors[name])
        verb = "is" if len(wrong) == 1 else "are"
        raise Failure(f"{', '.join(wrong)} {verb} not valid, so {outcome}.", lines, next_step)


def findings_in(name: str, plaintext: Secret) -> list[Finding]:
    """What is wrong or doubtful about the form of a decrypted file."""
    return keys_in(name, plaintext.reveal())[1]


def _list_of(file: SecretFile) -> Path:
    """Where the list of a file's expected keys is, or would be."""
    return file.plaintext.with_name(file.name + SUFFIX)


def _as_json(value: object) -> bytes:
    """A value as the file has it; half of a surrogate pair, which JSON allows, is kept."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
