"""Whether every encrypted file is in order: decrypts, is of the primary version, holds the expected keys."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tasks.lib.errors import ChangesFound, Failure
from tasks.lib.kms.administration import primary_version
from tasks.lib.kms.client import Kms, connected
from tasks.lib.secrets import formats
from tasks.lib.secrets.dotenv import Weight
from tasks.lib.secrets.expected import compare, expected_keys, keys_in
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.formats import unseal
from tasks.lib.secrets.together import for_each

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


class State(Enum):
    """How a file is, best first."""

    GOOD = "good"
    STALE = "stale"
    BROKEN = "broken"


@dataclass(frozen=True)
class Verdict:
    """What was found about one file.

    Args:
        environment: the environment's name.
        file: the file's name.
        state: `stale` wants attention, `broken` stops a deploy.
        form: `raw`, `headed`, or nothing where it could not be told.
        version: the key version: its number, `primary` or `older`; empty where it did not decrypt.
        problems: what makes it broken.
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
        primaries = {key: primary_version(kms, key) for key in dict.fromkeys(file.key for file in files)}
        verdicts, failures = for_each(files, lambda file: _examine(kms, file, primaries[file.key]), kms.close)
    return [verdicts.get(file) or _broken(file, failures[file]) for file in files]


def conclude(verdicts: Sequence[Verdict]) -> None:
    """Say by an error, and so by the exit code, how it stands.

    Raises:
        Failure: at least one file is broken (exit code 1).
        ChangesFound: none is broken, at least one is stale (exit code 3).

    """
    broken = [verdict for verdict in verdicts if verdict.state is State.BROKEN]
    if broken:
        steps = dict.fromkeys(step for verdict in broken for step in verdict.next_step.splitlines())
        raise Failure(f"{len(broken)} of {len(verdicts)} secret files are broken.", "", "\n".join(steps))
    if stale := [verdict for verdict in verdicts if verdict.state is State.STALE]:
        raise ChangesFound(
            f"{len(stale)} of {len(verdicts)} secret files want attention.", "",
            "./inv secrets.rotate encrypts with the primary version; keys nobody expects can go.",
        )  # fmt: skip


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
        f"Mend it: ./inv secrets.edit {file.name} --environment {file.environment}" if problems else "",
    )


def _version(primary: str, is_primary: bool) -> str:
    if not is_primary:
        return "older"
    return primary.rsplit("/", 1)[-1] or "primary"


def _broken(file: SecretFile, failure: Failure) -> Verdict:
    why = failure.why.splitlines()
    return Verdict(
        file.environment, file.name, State.BROKEN, problems=(failure.what, *why), next_step=failure.next_step
    )
