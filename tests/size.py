"""Prints how big the house is, package by package, beside its budget: `nox -s size`.

Nothing fails when the budget is exceeded: the figures are for whoever is about to add a module.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.lib.console import say

ROOT = Path(__file__).parent.parent
LIB = ROOT / "tasks" / "lib"

# Lines and files at most.
BUDGET = {"tasks/lib": (22_000, 125), "tasks/lib/deploy": (9_000, 28), "sandbox": (4_300, 45)}
SMALL = 60


@dataclass(frozen=True)
class Size:
    """How many lines and Python files a folder has, with all below it."""

    lines: int
    files: int


def size(files: Sequence[Path]) -> Size:
    """The size of these files; an `__init__.py` of one line does not count as a file."""
    lines = [len(file.read_text().splitlines()) for file in files]
    modules = [
        count for file, count in zip(files, lines, strict=True) if count > 1 or file.stem != "__init__"
    ]
    return Size(sum(lines), len(modules))


def modules(folder: Path) -> list[Path]:
    """The Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def small(files: Sequence[Path]) -> list[Path]:
    """Modules that are shorter than a module should be, where the noun does not stand by itself."""
    return [
        file for file in files if 1 < len(file.read_text().splitlines()) < SMALL and file.stem != "__init__"
    ]


def namesakes(files: Sequence[Path]) -> dict[str, int]:
    """Module names that stand more than once, and how often."""
    return {
        name: count
        for name, count in Counter(file.stem for file in files).items()
        if count > 1 and name != "__init__"
    }


def report() -> Iterator[str]:
    """The report, line by line."""
    packages = [
        LIB,
        *sorted(path for path in LIB.iterdir() if (path / "__init__.py").exists()),
        ROOT / "sandbox",
    ]
    for package in packages:
        name, found = str(package.relative_to(ROOT)), size(modules(package))
        budget = "  (budget {:,} lines, {} files)".format(*BUDGET[name]) if name in BUDGET else ""
        yield f"{name:22} {found.lines:7,} lines {found.files:4} files{budget}"
    files = modules(LIB)
    yield f"modules under {SMALL} lines: {len(small(files))}"
    same = namesakes(files)
    yield f"module names used more than once: {len(same)} ({', '.join(sorted(same))})"
    tests = size(modules(ROOT / "tests"))
    yield f"{'tests':22} {tests.lines:7,} lines {tests.files:4} files"


if __name__ == "__main__":
    say("\n".join(report()))
