"""The same work for many files at once: in parallel over one channel, with all faults in one error."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from tasks.lib.background import side_by_side
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.secrets.files import SecretFile

# Waiting is all that these threads do; KMS allows far more calls a minute.
CALLS_AT_ONCE = 32

Result = TypeVar("Result")


def for_each(
    files: "Sequence[SecretFile]", work: "Callable[[SecretFile], Result]", stop: Callable[[], None]
) -> "tuple[dict[SecretFile, Result], dict[SecretFile, Failure]]":
    """Do `work` for every file, in parallel.

    Args:
        files: the files.
        work: what to do with one.
        stop: what ends the work under way when this is interrupted, such as closing the client.

    Returns:
        What came out, and what failed, each by file and in the order of `files`.

    """
    failures: dict[SecretFile, Failure] = {}

    def attempt(file: "SecretFile") -> "tuple[SecretFile, Result] | None":
        try:
            return file, work(file)
        except Failure as failure:
            failures[file] = failure
            return None

    results = dict(filter(None, side_by_side(attempt, files, CALLS_AT_ONCE, stop)))
    return results, {file: failures[file] for file in files if file in failures}


def one_error(what: str, number: int, failures: "Mapping[SecretFile, Failure]") -> Failure:
    """All failures as one, those that say the same only once.

    Args:
        what: what became of them, such as `of staging could not be decrypted`.
        number: how many files it was meant for.
        failures: by file; not empty.

    """
    several = len({file.environment for file in failures}) > 1
    groups: dict[str, list[SecretFile]] = {}
    for file, failure in failures.items():
        groups.setdefault(str(failure), []).append(file)
    lines: list[str] = []
    steps: list[str] = []
    for files in groups.values():
        failure = failures[files[0]]
        names = [file.bound_to if several else file.name for file in files]
        lines += [
            f"- {', '.join(names)}: {failure.what}",
            *(f"  {line}" for line in failure.why.splitlines()),
        ]
        steps += [step for step in failure.next_step.splitlines() if step not in steps]
    count = f"{len(failures)} of {number}" if number > 1 else "The"
    return Failure(f"{count} secret{'s' * (number > 1)} {what}.", "\n".join(lines), "\n".join(steps))
