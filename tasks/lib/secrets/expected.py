"""The keys that an environment's secret files are expected to hold, from the lists beside them.

`<file>.expected` in the overlay's secrets folder has every key of `<file>` with an empty value: an env file
for an env file, a JSON object for a JSON file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.errors import Failure
from tasks.lib.secrets import dotenv, jsonfile
from tasks.lib.secrets.dotenv import Finding, Weight

if TYPE_CHECKING:
    from tasks.lib.redaction import Secret
    from tasks.lib.secrets.files import SecretFile

SUFFIX = ".expected"


@dataclass(frozen=True)
class Comparison:
    """Keys that a file lacks, and keys that it has and nobody expects."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def expected_keys(file: "SecretFile") -> list[str] | None:
    """The keys that `file` should have; None where there is no list.

    Raises:
        Failure: the list itself is not valid.

    """
    path = _list_of(file)
    if not path.exists():
        return None
    keys, findings = keys_in(file.name, path.read_bytes())
    if faults := [finding for finding in findings if finding.weight is Weight.FAULT]:
        raise Failure(f"The list of expected keys {path} is not valid.", "\n".join(map(str, faults)))
    return list(keys)


def _list_of(file: "SecretFile") -> Path:
    """Where the list of a file's expected keys is, or would be."""
    return file.plaintext.with_name(file.name + SUFFIX)


def keys_in(name: str, content: bytes) -> tuple[dict[str, str], list[Finding]]:
    """The keys of a secret file and what is doubtful about it.

    Args:
        name: the file's name, whose ending tells the form; a form not known has no keys.
        content: the file.

    Returns:
        Each key with how it may be shown, and the findings.

    """
    if name.endswith(".env"):
        env = dotenv.parse(content)
        return {pair.key: pair.shown for pair in env.pairs}, list(env.findings)
    if name.endswith(".json"):
        held = jsonfile.parse(content)
        return {member.key: member.shown for member in held.members}, list(held.findings)
    return {}, []


def lacking(file: "SecretFile", plaintext: "Secret") -> tuple[str, ...]:
    """The expected keys that a plaintext of `file` has not.

    Raises:
        Failure: the list of them is not valid.

    """
    return compare(expected_keys(file) or (), keys_in(file.name, plaintext.reveal())[0]).missing


def refuse_emptied(file: "SecretFile", plaintext: "Secret") -> None:
    """Refuse a plaintext without a single key where some are expected: a pipe that failed leaves one.

    Raises:
        Failure: it is one; or the list of expected keys is not valid.

    """
    if (wanted := expected_keys(file)) and not keys_in(file.name, plaintext.reveal())[0]:
        raise Failure(
            f"{file.name} holds no key at all, so nothing was encrypted.",
            f"The manifests ask for {len(wanted)} of it. The encrypted file is as it was.",
            "See what emptied it, such as a pipe that failed, then do it again.\n"
            f"If it is meant to be empty, take the keys out of {_list_of(file)} first.",
        )


def findings_in(name: str, plaintext: "Secret") -> list[Finding]:
    """What is doubtful about the form of a decrypted file."""
    return keys_in(name, plaintext.reveal())[1]


def refuse_faults(findings: Mapping[str, Sequence[Finding]], outcome: str, next_step: str) -> None:
    """Refuse texts that kustomize or Kubernetes would refuse.

    Args:
        findings: what was found about each file, by its name.
        outcome: what therefore did not happen, such as `nothing was encrypted`.
        next_step: how to mend it.

    Raises:
        Failure: one has faults; all are listed.

    """
    faults = {name: [f for f in found if f.weight is Weight.FAULT] for name, found in findings.items()}
    faulty = [name for name, found in faults.items() if found]
    if faulty:
        about = {name: f"{name}: " if len(findings) > 1 else "" for name in faulty}
        lines = "\n".join(f"- {about[name]}{fault}" for name in faulty for fault in faults[name])
        verb = "is" if len(faulty) == 1 else "are"
        raise Failure(f"{', '.join(faulty)} {verb} not valid, so {outcome}.", lines, next_step)


def compare(expected: Sequence[str], found: Mapping[str, str]) -> Comparison:
    """Set what is expected against what is there, each key with how it may be shown."""
    return Comparison(
        tuple(key for key in expected if key not in found),
        tuple(shown for key, shown in found.items() if key not in expected),
    )
