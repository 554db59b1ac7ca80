"""Whether every encrypted file is in order: decrypts, with the primary version, to the expected keys."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from tasks.lib import console
from tasks.lib.errors import ChangesFound, Failure
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.errors import Undecided
from tasks.lib.secrets.crypt import for_each
from tasks.lib.secrets.dotenv import Severity
from tasks.lib.secrets.envelope import parse, unseal
from tasks.lib.secrets.expected import compare, expected_keys, read
from tasks.lib.secrets.files import SUFFIX, SecretFile, strays
from tasks.lib.settings.model import Settings

COLOURS = {"good": "green", "stale": "yellow", "unknown": "magenta", "broken": "red"}


class State(Enum):
    """How a file is: stale needs attention, unknown could not be examined, broken stops a deploy."""

    GOOD = "good"
    STALE = "stale"
    UNKNOWN = "unknown"
    BROKEN = "broken"


@dataclass(frozen=True)
class Verdict:
    """What was found about one file."""

    environment: str
    file: str
    state: State
    form: str = ""  # empty where it is not known
    version: str = ""  # the number, `primary` or `older`; empty where it did not decrypt
    problems: tuple[str, ...] = ()  # what makes it broken, or kept it from being examined
    remarks: tuple[str, ...] = ()  # what makes it stale, or is merely doubtful
    next_step: str = ""


def verify(settings: Settings, files: Sequence[SecretFile]) -> list[Verdict]:
    """Examine every file, in parallel; what is wrong with one is in its verdict.

    Raises Failure where there are no credentials that could decrypt anything.
    """
    with connected(settings) as kms:
        verdicts, failures = for_each(files, partial(_examine, kms), kms.close)
    examined = [verdicts.get(file) or _failed(file, failures[file]) for file in files]
    return [*examined, *(_stray(path, files) for path in strays(files))]


def conclude(verdicts: Sequence[Verdict]) -> None:
    """Turn the verdicts into an error, and so into an exit code.

    Raises Failure where at least one file is broken or could not be examined (exit code 1), else
    ChangesFound where at least one is stale (exit code 3).
    """
    outcomes = {State.BROKEN: "are broken", State.UNKNOWN: "could not be examined"}
    bad = [verdict for verdict in verdicts if verdict.state in outcomes]
    if bad:
        steps = dict.fromkeys(step for verdict in bad for step in verdict.next_step.splitlines())
        counts = [(sum(v.state is state for v in bad), outcome) for state, outcome in outcomes.items()]
        said = " ".join(f"{n} of {len(verdicts)} secret files {outcome}." for n, outcome in counts if n)
        raise Failure(said, "", "\n".join(steps))
    if stale := sum(verdict.state is State.STALE for verdict in verdicts):
        raise ChangesFound(
            f"{stale} of {len(verdicts)} secret files need attention.",
            "",
            "./inv secrets.rotate encrypts with the primary version; remove unexpected keys and files, "
            "or name them in the .expected list and the settings.",
        )


def _examine(kms: Kms, file: SecretFile) -> Verdict:
    primary, content = kms.primary_version(file.key), file.encrypted()
    opened = unseal(kms, file, content)
    found = read(file.name, opened.plaintext.reveal())
    expected = expected_keys(file)
    missing, unexpected = compare(list(found.shown) if expected is None else expected, found.shown)
    problems = list(map(str, found.errors))
    problems += [f"{key} is missing" for key in missing]
    remarks = [str(finding) for finding in found.findings if finding.severity is Severity.WARNING]
    stale = [] if opened.used_primary else ["encrypted with an older key version"]
    stale += [f"{key} is not in the .expected list" for key in unexpected]
    return Verdict(
        file.environment,
        file.name,
        State.BROKEN if problems else State.STALE if stale else State.GOOD,
        parse(content).form.value,
        primary.rsplit("/", 1)[-1] or "primary" if opened.used_primary else "older",
        tuple(problems),
        (*stale, *remarks),
        f"Fix it: {file.command('edit')}" if problems else "",
    )


def _failed(file: SecretFile, failure: Failure) -> Verdict:
    state = State.UNKNOWN if isinstance(failure, Undecided) else State.BROKEN
    problems = (failure.what, *failure.why.splitlines())
    return Verdict(file.environment, file.name, state, problems=problems, next_step=failure.next_step)


def _stray(path: Path, files: Sequence[SecretFile]) -> Verdict:
    environment = next(file.environment for file in files if file.ciphertext.parent == path.parent)
    remark = "not in the settings, so no task looks after it"
    return Verdict(environment, path.name.removesuffix(SUFFIX), State.STALE, remarks=(remark,))


def show(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    """Print what was found about each file: JSON on stdout, or a table on stderr."""
    if as_json:
        listed = [{**asdict(verdict), "state": verdict.state.value} for verdict in verdicts]
        console.emit(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows: list[list[console.Cell]] = [
        [
            verdict.environment,
            verdict.file,
            console.Styled(verdict.state.value, COLOURS[verdict.state.value]),
            verdict.form,
            verdict.version,
            [*verdict.problems, *verdict.remarks],
        ]
        for verdict in verdicts
    ]
    console.table(("environment", "file", "state", "form", "key version", "remarks"), rows)
