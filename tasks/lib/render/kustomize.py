"""Building an overlay with the kustomize that kubectl carries, in a working copy of the tree."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import process
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.files import write_atomically
from tasks.lib.redaction import Secret
from tasks.lib.render import outside
from tasks.lib.render.templates import fill_tree
from tasks.lib.secrets.expected import refuse_errors

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

# A build that lasts less than a second need not collect garbage as a server would: a quarter less of the
# processor's time for 25 MB more.  Whoever sets it has the last word.
# https://pkg.go.dev/runtime#hdr-Environment_Variables
HEAP = {"GOGC": "400"}


def kubectl(settings: "Settings") -> str:
    """The kubectl to run: the one that settings name, else the pinned one beside this Python, else PATH's."""
    beside = Path(sys.executable).with_name("kubectl")
    return settings.kustomize.kubectl or (str(beside) if beside.exists() else "kubectl")


def build_argv(program: str, overlay: Path, options: str = "") -> tuple[str, ...]:
    """The command that builds `overlay`."""
    return (program, "kustomize", *shlex.split(options), str(overlay))


def build(
    settings: "Settings",
    environment: "Environment",
    variables: Mapping[str, str],
    secrets: Mapping[str, Secret],
    folder: Path,
) -> process.Completed:
    """Copy the tree into `folder`, fill in its templates, add the secrets and build the overlay.

    Args:
        settings: names the tree and the program.
        environment: names the overlay and the folder that it expects plaintext files in.
        variables: what templates may refer to.
        secrets: plaintext by file name.
        folder: an empty workspace; it will hold plaintext.

    Raises:
        UsageError: a template cannot be filled in.
        Failure: the tree or overlay is missing, the tree cannot be copied, a link would lead plaintext out of
            the copy, or kustomize refuses it.
        TimedOut: kustomize did not finish within time_limits.render.

    """
    copy = folder / "tree"
    overlay = copy / environment.overlay
    _copy(settings.tree, copy)
    if not overlay.is_dir():
        _refuse_outside(settings, environment, copy, environment.overlay)
        raise Failure(
            f"The overlay of {environment.name} does not exist.",
            f"{settings.tree / environment.overlay} is no folder.",
            f"Mend environments.{environment.name}.overlay in invoke.yaml.",
        )
    fill_tree(copy, variables)
    _add_plaintexts(copy, environment, secrets)
    argv = build_argv(kubectl(settings), overlay, settings.kustomize.options)
    try:
        return process.run(argv, time_limit=settings.time_limits.render, env={**HEAP, **os.environ})
    except TimedOut as late:
        raise TimedOut(
            f"kustomize could not build {environment.overlay}.",
            f"It did not finish within {settings.time_limits.render:g} s and was ended.",
            "Run this again; where it needs longer, raise time_limits.render in invoke.yaml.",
        ) from late
    except Failure as failure:
        _refuse_outside(settings, environment, copy, failure.why)
        failure.why = failure.why.replace(f"{copy}/", "").replace(str(copy), settings.kustomize.tree)
        failure.what = f"kustomize could not build {environment.overlay}."
        raise


def _refuse_outside(settings: "Settings", environment: "Environment", copy: Path, said: str) -> None:
    """Name what the tree lacks because it lies outside.

    Raises:
        Failure: what was said is about something outside.

    """
    if places := outside.blamed(copy, said):
        raise Failure(
            f"kustomize could not build {environment.overlay}.",
            "\n".join(
                f"{place}, outside the tree {settings.tree}, and only that is built." for place in places
            ),
            "Move it into the tree, or name a folder that holds both as kustomize.tree in invoke.yaml: "
            f"environments.{environment.name}.overlay and .secrets.plaintexts start from there.",
        )


def _add_plaintexts(copy: Path, environment: "Environment", secrets: Mapping[str, Secret]) -> None:
    """Write the plaintext files where the overlay expects them."""
    for name, plaintext in secrets.items():
        if name.endswith(".env"):  # kustomize would quote the line that it stumbles over
            fix = f"Fix it: ./inv secrets.edit {shlex.quote(name)} --environment {environment.name}"
            refuse_errors({name: plaintext}, "nothing was rendered", fix)
        write_atomically(_within(copy, environment) / name, plaintext.reveal())


def _within(copy: Path, environment: "Environment") -> Path:
    """The folder of plaintext files in the copy of a tree.

    Raises:
        Failure: a link leads out of the copy, where plaintext would stay.

    """
    folder = copy / environment.secrets.plaintexts
    if not folder.resolve().is_relative_to(copy.resolve()):
        raise Failure(
            f"The folder of {environment.name}'s plaintext files is a link out of the tree.",
            f"{environment.secrets.plaintexts} leads to {folder.resolve()}, where they would stay.",
            f"Mend environments.{environment.name}.secrets.plaintexts in invoke.yaml, or the tree.",
        )
    return folder


def _copy(tree: Path, copy: Path) -> None:
    if not tree.is_dir():
        why = f"{tree} is no folder."
        raise Failure("The kustomize tree does not exist.", why, "Mend kustomize.tree in invoke.yaml.")
    try:
        shutil.copytree(tree, copy, symlinks=True, ignore=shutil.ignore_patterns("*.enc"))
    except shutil.Error as error:
        first, *others = [why for _, _, why in error.args[0]]
        room = copy.parents[1]
        raise Failure(
            f"The kustomize tree cannot be copied to {room}.",
            f"{first}{f' (and {len(others)} more)' if others else ''}",
            f"Mend what it names; where there is no space left, make room: df -h {room}",
        ) from error
