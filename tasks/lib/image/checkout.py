"""The checkout that an image is built from, and what of it goes into the image.

That is the commit: a copy without what git ignores or does not know, such as an .env beside the code.
"""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from tasks.lib import build_variables, console, process
from tasks.lib.build_variables import BuildVariables, git
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.files import real
from tasks.lib.settings.model import Settings

GIT_SECONDS = 20
COPY_SECONDS = 120
SUBMODULE = "160000"  # the mode of a folder that is another repository's
NAMED = 5
COMMIT, CHANGED, FOLDER = "commit", "commit with uncommitted changes", "folder without git"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files that an image is built from, in `folder`; `source` is where people know them."""

    source: Path
    folder: Path
    committed: str = ""  # ISO 8601, in UTC; empty where there is no git
    others: Sequence[str] = ()  # files that are not, or not so, in the commit

    @property
    def built_from(self) -> str:
        """What the image's label says."""
        if not self.committed:
            return FOLDER
        return CHANGED if self.others else COMMIT


def folder(settings: Settings, source: str, here: Path) -> Path:
    """The checkout that a task means: the option's (from `here`), else the settings', else `here`."""
    if source:
        return real(here / source)
    if settings.source.checkout:
        return real(settings.root / settings.source.checkout)
    return here


def variables(
    settings: Settings, source: Path, *, commit: str = "", tag: str = "", branch: str = ""
) -> BuildVariables:
    """The build variables of `source`: options, else Cloud Build's variables, else what git says.

    Raises UsageError where there is no such folder, or at least one value cannot be used; all of them are
    listed. Raises Failure where the commit is not given, and `source` is not a checkout.
    """
    if not source.is_dir():
        raise UsageError(
            f"There is no folder {source}.", next_step="Name a checkout of the application with --source."
        )
    known = branch or os.environ.get("BRANCH_NAME") or branch_of(source)
    here = replace(settings, source=replace(settings.source, checkout=str(source)))
    return build_variables.collect(here, known, commit, tag, os.environ)


def branch_of(source: Path) -> str:
    """The branch a checkout is on; `detached` where it is on none."""
    try:
        return _git(source, "symbolic-ref", "HEAD").strip().removeprefix("refs/heads/")
    except Failure:
        return "detached"


def head(source: Path) -> str:
    """The commit that `source` is on; empty where it is not the top of a checkout (an archive, say)."""
    try:
        top = process.run((*git(source), "rev-parse", "--show-toplevel"), time_limit=GIT_SECONDS).stdout
        if Path(os.fsdecode(top.strip())).resolve() != source.resolve():
            return ""
        return _git(source, "rev-parse", "HEAD").strip()
    except TimedOut:
        raise
    except Failure:
        return ""


@contextmanager
def committed(source: Path, commit: str) -> Iterator[Tree]:
    """The files of a commit; those of a folder without git are all there is."""
    if not head(source):
        yield Tree(source=source, folder=source)
        return
    with copied(source, commit, "Commit them, or build with --worktree.") as copy:
        for found in [*copy.rglob(".git")]:  # the history is no part of an image, and never twice the same
            shutil.rmtree(found)
        yield Tree(source=source, folder=copy, committed=_time_of(source, commit))


@contextmanager
def worktree(source: Path, commit: str) -> Iterator[Tree]:
    """All files of `source` as they are, which is on `commit`; what is not in the commit is named."""
    found = head(source)
    if found and found != commit:
        raise UsageError(
            f"The checkout {source} is on {found}, not on {commit}.",
            "Its image would be named after a commit that it does not hold.",
            shlex.join(("git", "-C", str(source), "checkout", commit)),
        )
    others = _status(source, "--ignored") if found else ()
    if others:
        console.say(
            f"Warning: the image gets {len(others)} file(s) of {source} that are not in commit {commit[:7]}, "
            f"so `push` refuses it: {_listed(others)}."
        )
    if missing := [path for path, _ in _submodules(source, found) if not _is_checked_out(source / path)]:
        _tell_missing(source, missing)
    yield Tree(
        source=source, folder=source, committed=_time_of(source, commit) if found else "", others=others
    )


@contextmanager
def copied(source: Path, commit: str, advice: str = "") -> Iterator[Path]:
    """A checkout of the commit in a folder of its own, with all submodules that are checked out in `source`.

    Uncommitted files that are left out are told, with `advice`. Raises UsageError where `source` is no
    checkout, or has no such commit.
    """
    if not head(source):
        raise UsageError(
            f"{source} is not a git checkout.",
            next_step="Name a checkout of the application with --source, or source.checkout in invoke.yaml.",
        )
    if changed := _status(source):
        told = f"Warning: {len(changed)} uncommitted file(s) of {source} are left out: {_listed(changed)}."
        console.say(f"{told} {advice}".strip())
    with tempfile.TemporaryDirectory(prefix="lookit-commit-") as parent:
        target = Path(parent) / "workspace"
        if missing := _copy(source, commit, target):
            _tell_missing(source, missing)
        _let_everybody_read(target)
        yield target


def _copy(source: Path, commit: str, target: Path) -> list[str]:
    """Check a commit out in `target`; returns the submodules that are not checked out in `source`."""
    process.run(("git", "init", "--quiet", str(target)), time_limit=GIT_SECONDS)
    try:
        process.run(fetch_argv(source, commit, target), time_limit=COPY_SECONDS)
    except TimedOut:
        raise
    except Failure as failure:
        raise UsageError(
            f"{source} has no commit {commit}.", failure.why, f"git -C {shlex.quote(str(source))} fetch --all"
        ) from failure
    process.run((*git(target), "checkout", "--quiet", "--detach", commit), time_limit=COPY_SECONDS)
    missing = []
    for path, its_commit in _submodules(target, commit):
        if _is_checked_out(source / path):
            missing += [f"{path}/{inner}" for inner in _copy(source / path, its_commit, target / path)]
        else:
            missing.append(path)
    return missing


def fetch_argv(source: Path, commit: str, target: Path) -> tuple[str, ...]:
    """The command that fetches one commit and its history from a checkout, which may be another user's.

    The program that git starts to read the source does not get these options, so it has its own.
    """
    reader = "git -c safe.directory='*' -c uploadpack.allowAnySHA1InWant=true upload-pack"
    options = ("--quiet", "--no-tags", "--update-shallow", f"--upload-pack={reader}")
    return (*git(target), "fetch", *options, str(source), commit)


def _submodules(folder: Path, commit: str) -> list[tuple[str, str]]:
    """The path and commit of each submodule of a commit."""
    listed = _git(folder, "ls-tree", "-r", "-z", commit) if commit else ""
    entries = [entry.partition("\t") for entry in listed.split("\0") if entry.startswith(SUBMODULE)]
    return [(path, facts.split()[2]) for facts, _, path in entries]


def _is_checked_out(submodule: Path) -> bool:
    return (submodule / ".git").exists()


def _tell_missing(source: Path, submodules: Sequence[str]) -> None:
    console.say(
        f"Warning: submodules of {source} that are not checked out are empty in the image: "
        f"{_listed(submodules)}. git -C {shlex.quote(str(source))} submodule update --init --recursive"
    )


def _status(source: Path, *options: str) -> tuple[str, ...]:
    """The files that are not, or not so, in the commit."""
    return tuple(line[3:] for line in _git(source, "status", "--porcelain", *options).splitlines())


def _time_of(source: Path, commit: str) -> str:
    form = ("--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ")
    done = process.run((*git(source), "log", "-1", *form, commit), time_limit=GIT_SECONDS, env={"TZ": "UTC"})
    return done.stdout.decode().strip()


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *(["…"] if names[NAMED:] else [])])


def _git(source: Path, *command: str) -> str:
    return process.run((*git(source), *command), time_limit=GIT_SECONDS).stdout.decode(errors="replace")


def _let_everybody_read(folder: Path) -> None:
    """Let everybody read and enter what the owner may, as a umask of 022 does: containers run as others."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | mode >> 3 & 0o050 | mode >> 6 & 0o005)
