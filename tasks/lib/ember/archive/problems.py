"""What is wrong with an archive by its own list of what it holds, before any content is read."""

from collections.abc import Iterator, Sequence

from tasks.lib.ember import names
from tasks.lib.ember.archive.source import (
    ENCRYPTED,
    FILE,
    FOLDER,
    OTHERWISE_PACKED,
    RATIO_JUDGED_ABOVE,
    Member,
)  # fmt: skip
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Limits

MOST_SHOWN = 1000


def of_member(member: Member, prefix: str, limits: Limits) -> str:
    """What is wrong with one member, as far as its header tells, once `prefix` is before its name."""
    return names.problem(names.relative(member.name), prefix) or _of_kind(member) or _of_size(member, limits)


def _of_kind(member: Member) -> str:
    if member.kind in {ENCRYPTED, OTHERWISE_PACKED}:
        return f"it is {member.kind}"
    if member.kind not in {FILE, FOLDER}:
        return f"it is {member.kind}, not a file"
    if member.kind == FILE and member.name.endswith("/"):
        return "it is a file, and called like a folder"
    if member.kind == FOLDER and member.size:
        return f"it is a folder, and holds {member.size:,} bytes"
    return ""


def _of_size(member: Member, limits: Limits) -> str:
    if member.size > limits.member_size:
        return f"it unpacks to {member.size:,} bytes, more than ember.limits.member_size"
    return _of_ratio(member.size, member.packed, limits)


def _of_ratio(size: int, packed: int, limits: Limits) -> str:
    if packed and size > RATIO_JUDGED_ABOVE and size > limits.ratio * packed:
        return f"it unpacks to more than {limits.ratio} times its packed size (ember.limits.ratio)"
    return ""


def of_sizes(files: Sequence[Member], limits: Limits) -> list[str]:
    """What all files together have too much of."""
    total, packed = sum(member.size for member in files), sum(member.packed for member in files)
    too_large = total > limits.total_size
    found = [f"it unpacks to {total:,} bytes, more than ember.limits.total_size"] if too_large else []
    return [*found, *filter(None, [_of_ratio(total, packed, limits)])]


def of_names(files: Sequence[Member]) -> Iterator[str]:
    """Files that some system would take for one, by case or Unicode form, and files that hold files."""
    paths = [names.relative(member.name) for member in files]
    for earlier, later in names.clashes(paths):
        yield said(
            later,
            "it is there twice"
            if earlier == later
            else f"it differs from {names.spelled(earlier)} only by case or Unicode form",
        )
    known = {names.folded(path): path for path in paths}
    holders = {"": ""}  # for each folder the file that it, or one above it, is too

    def holder(folder: str) -> str:
        if folder not in holders:
            holders[folder] = holder(folder.rpartition("/")[0]) or known.get(folder, "")
        return holders[folder]

    for path in paths:
        if file := holder(names.folded(path).rpartition("/")[0]):
            yield said(path, f"{names.spelled(file)} is a file, and cannot hold it")


def said(name: str, problem: str) -> str:
    """A problem with the member that has it."""
    return f"{names.spelled(name)}: {problem}"


def refuse(problems: Sequence[str]) -> None:
    """Raise the Failure that lists `problems`, where there are any."""
    if not problems:
        return
    shown = [f"- {problem}" for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        shown.append(f"- and {len(problems) - MOST_SHOWN:,} more")
    raise Failure(
        "The archive is refused; nothing was uploaded.",
        "\n".join(shown),
        "Archive what `ember build` wrote to dist/ again, as plain files and folders.",
    )
