"""The errors that are shown to users.

Library code raises them; tasks/cli.py catches them once and prints them without a traceback.  Any other
exception is a defect of this project and keeps its traceback.
"""

from collections.abc import Iterable, Sequence

from tasks.lib.printable import one_line, printable

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CHANGES = 3
EXIT_TIMED_OUT = 70


class Failure(Exception):  # noqa: N818 - the family's name reads as what happened: `raise Failure(...)`
    """An error that the user can act on.

    `what` says in one sentence what failed; `next_step` is best a command to run.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step

    def retold(
        self, *, what: str | None = None, why: str | None = None, next_step: str | None = None
    ) -> "Failure":
        """A failure of the same kind with other texts; to be raised in place of this one."""
        told = type(self).__new__(type(self), self.what if what is None else what)
        given = {"what": what, "why": why, "next_step": next_step}
        vars(told).update({**vars(self), **{name: text for name, text in given.items() if text is not None}})
        return told

    def __str__(self) -> str:
        """The message as printed: what failed, then why and next with labels."""
        return "\n".join(
            [one_line(self.what), *_labelled("why", self.why), *_labelled("next", self.next_step)],
        )


class UsageError(Failure):
    """A wrong option, argument or setting; nothing was done."""

    exit_code = EXIT_USAGE


class TimedOut(Failure):
    """A time limit was reached; the work may still go on."""

    exit_code = EXIT_TIMED_OUT


class ChangesFound(Failure):
    """A plan with --exit-code found changes."""

    exit_code = EXIT_CHANGES


def all_problems(what: str, problems: Sequence[str], next_step: str = "") -> UsageError:
    """One error that lists every problem, so that all can be fixed at once."""
    return UsageError(what, "\n".join(f"- {problem}" for problem in problems), next_step)


def nearest(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """The known name that is most similar to `name`; empty if none is similar enough.

    Case, `-` and `_` do not count; `least` is how similar it has to be, 1 for equal.
    """
    import difflib  # slow to load, and needed only after a mistake

    folded = {_folded(one): one for one in known}
    near = difflib.get_close_matches(_folded(name), folded, n=1, cutoff=least)
    return folded[near[0]] if near else ""


def _folded(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _labelled(label: str, text: str) -> list[str]:
    """Indent `text` under `label:`; nothing for an empty text."""
    if not text:
        return []
    first, *rest = printable(text).splitlines() or [""]
    return [f"  {label + ':':<6}{first}", *(f"        {line}" for line in rest)]
