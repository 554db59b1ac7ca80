"""Whether every encrypted file is in order: decrypts, is of the primary version, holds the expected keys."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.errors import ChangesFound, Failure
from tasks.lib.kms.administration import primary_version
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.diagnosis import Undecided
from tasks.lib.secrets import formats
from tasks.lib.secrets.dotenv import Weight
from tasks.lib.secrets.expected import compare, expected_keys, keys_in
from tasks.lib.secrets.files import SUFFIX, SecretFile, strays
from tasks.lib.secrets.formats import unseal
from tasks.lib.secrets.together import for_each

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


class State(Enum):
    """How a file is, best first."""

    GOOD = "good"
    STALE = "stale"
    UNKNOWN = "unknown"
    BROKEN = "broken"


@dataclass(frozen=True)
class Verdict:
    """What was found about one file.

    Args:
        environment: the environment's name.
        file: the file's name.
        state: `stale` wants attention, `broken` stops a deploy, `unknown` could not be examined.
        form: `raw`, `headed`, or nothing where it could not be told.
        version: the key version: its number, `primary` or `older`; empty where it did not decrypt.
        problems: what makes it broken, or kept it from being examined.
        remarks: what makes it stale, or is merely doubtful.
        next_step: what to do about the problems.
    """

    environment: str
    file: str
    state: State
    form: str = ""
    version: str = ""
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    next_step: str = ""

    def as_json(self) -> dict[str, object]:
        """The same for scripts."""
        return {**asdict(self), "state": self.state.value}


def verify(settings: "Settings", files: Sequence[SecretFile]) -> list[Verdict]:
    """Examine every file, in parallel; what is wrong with one is in its verdict.

    Raises:
        Failure: there are no credentials that could decrypt anything.

    """
    with connected(settings) as kms:
        primaries, unreadable = _primaries(kms, list(dict.fromkeys(file.key for file in files)))
        asked = [file for file in files if file.key in primaries]
        verdicts, failures = for_each(asked, lambda file: _examine(kms, file, primaries[file.key]), kms.close)
    failures |= {file: unreadable[file.key] for file in files if file.key in unreadable}
    examined = [verdicts.get(file) or _failed(file, failures[file]) for file in files]
    return [*examined, *(_stray(path, files) for path in strays(files))]


def conclude(verdicts: Sequence[Verdict]) -> None:
    """Say by an error, and so by the exit code, how it stands.

    Raises:
        Failure: at least one file is broken or could not be examined (exit code 1).
        ChangesFound: none is, and at least one is stale (exit code 3).

    """
    outcomes = {State.BROKEN: "are broken", State.UNKNOWN: "could not be examined"}
    bad = [verdict for verdict in verdicts if verdict.state in outcomes]
    if bad:
        steps = dict.fromkeys(step for verdict in bad for step in verdict.next_step.splitlines())
        counts = [(sum(v.state is state for v in bad), outcome) for state, outcome in outcomes.items()]
        said = " ".join(f"{n} of {len(verdicts)} secret files {outcome}." for n, outcome in counts if n)
        raise Failure(said, "", "\n".join(steps))
    if stale := [verdict for verdict in verdicts if verdict.state is State.STALE]:
        raise ChangesFound(
            f"{len(stale)} of {len(verdicts)} secret files want attention.", "",
            "./inv secrets.rotate encrypts with the primary version; keys and files nobody expects can go.",
        )  # fmt: skip


def _primaries(kms: Kms, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, Failure]]:
    """For each key the version that encrypts now, or why KMS says nothing about the key."""
    found: dict[str, str] = {}
    failures: dict[str, Failure] = {}
    for key in keys:
        try:
            found[key] = primary_version(kms, key)
        except Failure as failure:
            failures[key] = failure
    return found, failures


def _examine(kms: Kms, file: SecretFile, primary: str) -> Verdict:
    content = file.encrypted()
    opened = unseal(kms, file, content)
    keys, findings = keys_in(file.name, opened.plaintext.reveal())
    problems = [str(finding) for finding in findings if finding.weight is Weight.FAULT]
    remarks = [str(finding) for finding in findings if finding.weight is Weight.DOUBT]
    expected = expected_keys(file)
    difference = compare(expected, keys) if expected is not None else compare([], {})
    problems += [f"{key} is missing" for key in difference.missing]
    unexpected = [f"{key} is expected by nobody" for key in difference.unexpected]
    old = [] if opened.used_primary else ["encrypted with an older key version"]
    return Verdict(
        file.environment,
        file.name,
        State.BROKEN if problems else State.STALE if unexpected or old else State.GOOD,
        formats.parse(content).form.value,
        _version(primary, opened.used_primary),
        tuple(problems),
        (*old, *unexpected, *remarks),
        f"Mend it: {file.command('edit')}" if problems else "",
    )


def _version(primary: str, is_primary: bool) -> str:
    if not is_primary:
        return "older"
    return primary.rsplit("/", 1)[-1] or "primary"


def _failed(file: SecretFile, failure: Failure) -> Verdict:
    state = State.UNKNOWN if isinstance(failure, Undecided) else State.BROKEN
    problems = (failure.what, *failure.why.splitlines())
    return Verdict(file.environment, file.name, state, problems=problems, next_step=failure.next_step)


def _stray(path: Path, files: Sequence[SecretFile]) -> Verdict:
    environment = next(file.environment for file in files if file.ciphertext.parent == path.parent)
    remark = "no setting names it, so no task looks after it"
    return Verdict(environment, path.name.removesuffix(SUFFIX), State.STALE, remarks=(remark,))
