"""What a tree names outside itself, as its maintainer wrote it: only the tree is copied and built.

It is looked for once the copy cannot be built: kustomize names paths of the copy, which nobody has written.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})


def blamed(copy: Path, said: str) -> list[str]:
    """The references and links out of a tree that a message is about, in words.

    Args:
        copy: a copy of the tree, its links still links.
        said: the message.

    """
    found = [*_links(copy), *_references(copy)]
    return list(dict.fromkeys(words for written, words in found if written in said))


def _links(tree: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() and _leads_out(tree, path.parent, target := path.readlink()):
            place = str(path.relative_to(tree))
            yield place, f"{place} is a link to {target}"


def _references(tree: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(tree.rglob("*")):
        if path.name in KUSTOMIZATIONS and path.is_file():
            for text in _texts(_read(path)):
                # Kustomize takes an absolute path as it is, whether the tree is a copy or not.
                if not Path(text).is_absolute() and _leads_out(tree, path.parent, Path(text)):
                    yield text, f"{path.relative_to(tree)} names {text}"


def _leads_out(tree: Path, folder: Path, path: Path) -> bool:
    return not Path(os.path.normpath(folder / path)).is_relative_to(tree)


def _texts(value: Any) -> Iterator[str]:
    """Every text of a kustomization that may be a path; `key=path` stands for a file under another name."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _texts(one)
    if isinstance(value, str) and "\n" not in value:
        yield value.rpartition("=")[2]


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):  # kustomize says so itself
        return None
