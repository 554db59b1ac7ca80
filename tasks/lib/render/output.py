"""Where a render goes: one stream, or one file an object."""

import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import make_folders, refusal, write_atomically
from tasks.lib.render.documents import Document, joined, redacted
from tasks.lib.render.rendering import Rendered


def file_names(documents: Sequence[Document]) -> dict[str, Document]:
    """A file name for each document; where two would share one, the namespace is added, then a number.

    The number is for kinds that two API groups have, and for names that differ in case alone.
    """
    named: dict[str, Document] = {}
    for document in documents:
        # An object's name must not lead out of the folder.
        names = (name.replace("/", "-") for name in _names(document))
        named[next(name for name in names if name not in named)] = document
    return named


def _names(document: Document) -> Iterator[str]:
    name, namespace = document.file_name, document.content["metadata"].get("namespace", "cluster")
    yield name
    yield f"{namespace}-{name}"
    for number in count(2):
        yield f"{namespace}-{number}-{name}"


def write(documents: Sequence[Document], folder: Path) -> list[Path]:
    """Write one file an object into `folder`, readable by its owner only.

    Raises UsageError where the folder holds other files, which an apply of the whole folder would take along.
    """
    files = file_names(documents)
    present = folder.iterdir() if folder.is_dir() else ()
    if strangers := sorted(path.name for path in present if path.name not in files):
        raise UsageError(
            f"{folder} holds files that are not part of this render.",
            ", ".join(strangers),
            "Choose an empty folder, or remove these files.",
        )
    make_folders(folder)
    for name, document in files.items():
        write_atomically(folder / name, document.text.encode())
    return [folder / name for name in files]


def deliver(rendered: Rendered, kubernetes: str, out: str, *, show_secrets: bool) -> None:
    """Validate a render for a version of Kubernetes, and print it (`out` is `-`) or write it to a folder.

    With `show_secrets` the values of Secrets are printed even on a terminal; pipes and files always get them.
    Raises Failure where an object breaks its schema, and nothing is printed or written; or the folder cannot
    be written to, and some of the files may be there. Raises UsageError where the folder holds other files.
    """
    unchecked = rendered.validate(kubernetes)
    for warning in rendered.warnings:
        console.say(f"kustomize: {warning}")
    if unchecked:
        console.say(f"not checked, no published schema: {', '.join(unchecked)}")
    if out != "-":
        try:
            written = write(rendered.documents, Path(out))
        except OSError as error:
            raise _not_written(out, error) from error
        console.say(f"{len(written)} files written to {out}; Secrets among them are in plaintext.")
        return
    hide = sys.stdout.isatty() and not show_secrets
    console.emit(joined([redacted(d) for d in rendered.documents] if hide else rendered.documents))


def _not_written(out: str, error: OSError) -> Failure:
    return refusal(error) or Failure(
        f"The render cannot be written to {out}.", f"{error.strerror}.", "Choose another folder with --out."
    )
