"""Building an overlay with the kustomize that kubectl carries, in a working copy of the tree.

Only the tree is copied and built.  Where that fails because of something outside the tree, it is named as its
maintainer wrote it: kustomize names paths of the copy, which nobody has written.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tasks.lib import process
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.files import write_atomically
from tasks.lib.redaction import Secret
from tasks.lib.render.templates import fill_tree
from tasks.lib.secrets.expected import refuse_errors
from tasks.lib.settings.model import Environment, Settings

# A build that lasts less than a second need not collect garbage as a server would: a quarter less of the
# processor's time for 25 MB more.  A value that is set already wins.
# https://pkg.go.dev/runtime#hdr-Environment_Variables
HEAP: Final = {"GOGC": "400"}
KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})


def kubectl(settings: Settings) -> str:
    """The kubectl to run: the one that settings name, else the pinned one beside this Python, else PATH's."""
    beside = Path(sys.executable).with_name("kubectl")
    return settings.kustomize.kubectl or (str(beside) if beside.exists() else "kubectl")


def build_argv(program: str, overlay: Path, options: str = "") -> tuple[str, ...]:
    """The command that builds `overlay`."""
    return (program, "kustomize", *shlex.split(options), str(overlay))


def build(
    settings: Settings,
    environment: Environment,
    variables: Mapping[str, str],
    secrets: Mapping[str, Secret],
    folder: Path,
) -> process.Completed:
    """Copy the tree into `folder`, fill in its templates, add the secrets and build the overlay.

    `folder` is an empty workspace, which will hold plaintext; `secrets` are plaintexts by file name. Raises
    UsageError where a template cannot be filled in; Failure where the tree or overlay is missing, the tree
    cannot be copied, a link would lead plaintext out of the copy, or kustomize refuses it; TimedOut where
    kustomize did not finish within time_limits.render.
    """
    copy = folder / "tree"
    overlay = copy / environment.overlay
    _copy(settings.tree, copy)
    if not overlay.is_dir():
        _refuse_outside(settings, environment, copy, environment.overlay)
        raise Failure(
            f"The overlay of {environment.name} does not exist.",
            f"{settings.tree / environment.overlay} is not a folder.",
            f"Fix environments.{environment.name}.overlay in invoke.yaml.",
        )
    fill_tree(copy, variables)
    _add_plaintexts(copy, environment, secrets)
    argv = build_argv(kubectl(settings), overlay, settings.kustomize.options)
    try:
        return process.run(argv, time_limit=settings.time_limits.render, env={**HEAP, **os.environ})
    except TimedOut as late:
        raise TimedOut(
            f"kustomize could not build {environment.overlay}.",
            f"It did not finish within {settings.time_limits.render:g} s and was stopped.",
            "Run this again; if it needs longer, raise time_limits.render in invoke.yaml.",
        ) from late
    except Failure as failure:
        _refuse_outside(settings, environment, copy, failure.why)
        said = failure.why.replace(f"{copy}/", "").replace(str(copy), settings.kustomize.tree)
        what = f"kustomize could not build {environment.overlay}."
        raise Failure(what, said, failure.next_step) from failure


def _copy(tree: Path, copy: Path) -> None:
    if not tree.is_dir():
        why = f"{tree} is not a folder."
        raise Failure("The kustomize tree does not exist.", why, "Fix kustomize.tree in invoke.yaml.")
    try:
        shutil.copytree(tree, copy, symlinks=True, ignore=shutil.ignore_patterns("*.enc"))
    except shutil.Error as error:
        first, *others = [why for _, _, why in error.args[0]]
        room = copy.parents[1]
        raise Failure(
            f"The kustomize tree cannot be copied to {room}.",
            f"{first}{f' (and {len(others)} more)' if others else ''}",
            f"Fix what it names; if there is no space left, make room: df -h {room}",
        ) from error


def _add_plaintexts(copy: Path, environment: Environment, secrets: Mapping[str, Secret]) -> None:
    """Write the plaintext files where the overlay expects them, but through no link out of the copy."""
    folder = copy / environment.secrets.plaintexts
    if secrets and not folder.resolve().is_relative_to(copy.resolve()):
        raise Failure(
            f"The folder of {environment.name}'s plaintext files is a link out of the tree.",
            f"{environment.secrets.plaintexts} leads to {folder.resolve()}, where they would stay.",
            f"Fix environments.{environment.name}.secrets.plaintexts in invoke.yaml, or the tree.",
        )
    for name, plaintext in secrets.items():
        if name.endswith(".env"):  # kustomize would quote the line that it does not accept
            fix = f"Fix it: ./inv secrets.edit {shlex.quote(name)} --environment {environment.name}"
            refuse_errors({name: plaintext}, "nothing was rendered", fix)
        write_atomically(folder / name, plaintext.reveal())


def _refuse_outside(settings: Settings, environment: Environment, copy: Path, said: str) -> None:
    """End with a Failure that names what is outside the tree, if that is what a message is about."""
    outside = [*_links_out(copy), *_references_out(copy)]
    if places := dict.fromkeys(words for written, words in outside if written in said):
        raise Failure(
            f"kustomize could not build {environment.overlay}.",
            "\n".join(
                f"{place}, outside the tree {settings.tree}; only the tree is built." for place in places
            ),
            "Move it into the tree, or name a folder that holds both as kustomize.tree in invoke.yaml: "
            f"environments.{environment.name}.overlay and .secrets.plaintexts start from there.",
        )


def _links_out(tree: Path) -> Iterator[tuple[str, str]]:
    """Links out of the tree: where they are, and the same in words."""
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() and _leads_out(tree, path.parent, target := path.readlink()):
            place = str(path.relative_to(tree))
            yield place, f"{place} is a link to {target}"


def _references_out(tree: Path) -> Iterator[tuple[str, str]]:
    """What kustomizations name outside the tree: as written there, and the same in words."""
    for path in sorted(tree.rglob("*")):
        if path.name in KUSTOMIZATIONS and path.is_file():
            for text in _texts(_read(path)):
                # Kustomize takes an absolute path as it is, whether the tree is a copy or not.
                if not Path(text).is_absolute() and _leads_out(tree, path.parent, Path(text)):
                    yield text, f"{path.relative_to(tree)} names {text}"


def _leads_out(tree: Path, folder: Path, path: Path) -> bool:
    return not Path(os.path.normpath(folder / path)).is_relative_to(tree)


def _texts(value: Any) -> Iterator[str]:
    """Every text of a kustomization that may be a path; `key=path` is a file under another name."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _texts(one)
    if isinstance(value, str) and "\n" not in value:
        yield value.rpartition("=")[2]


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):  # kustomize reports it itself
        return None
