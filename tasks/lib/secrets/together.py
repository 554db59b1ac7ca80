"""The same work for many files at once: in parallel over one channel, with all faults in one error."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.kms.client import Kms
    from tasks.lib.secrets.files import SecretFile

# Waiting is all that these threads do; KMS allows far more calls a minute.
CALLS_AT_ONCE = 32

Result = TypeVar("Result")


def for_each(
    kms: "Kms", files: Sequence["SecretFile"], work: "Callable[[SecretFile], Result]"
) -> tuple[dict[str, Result], dict[str, Failure]]:
    """Do `work` for every file, in parallel.

    Args:
        kms: the client that the work uses; it is closed if this is interrupted, which ends calls under way.
        files: the files.
        work: what to do with one.

    Returns:
        What came out, and what failed, each by the file's name and in the order of `files`.

    """
    results: dict[str, Result] = {}
    failures: dict[str, Failure] = {}
    with ThreadPoolExecutor(max(1, min(CALLS_AT_ONCE, len(files)))) as pool:
        try:
            futures = {file.name: pool.submit(work, file) for file in files}
            for name, future in futures.items():
                try:
                    results[name] = future.result()
                except Failure as failure:
                    failures[name] = failure
        except BaseException:
            kms.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results, failures


def one_error(what: str, number: int, failures: Mapping[str, Failure]) -> Failure:
    """All failures as one, those that say the same only once.

    Args:
        what: what could not be done, such as `decrypt secrets of staging`.
        number: how many files it was meant for.
        failures: by file name; not empty.

    """
    groups: dict[str, list[str]] = {}
    for name, failure in failures.items():
        groups.setdefault(str(failure), []).append(name)
    lines: list[str] = []
    steps: list[str] = []
    for names in groups.values():
        failure = failures[names[0]]
        lines += [
            f"- {', '.join(names)}: {failure.what}",
            *(f"  {line}" for line in failure.why.splitlines()),
        ]
        steps += [step for step in failure.next_step.splitlines() if step not in steps]
    count = f"{len(failures)} of {number}" if number > 1 else "The"
    return Failure(f"{count} secret{'s' * (number > 1)} {what}.", "\n".join(lines), "\n".join(steps))
