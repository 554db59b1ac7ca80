"""What README and docs/ say is so: their commands parse, their links lead somewhere, no settings are made up."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from invoke import Collection, Exit

from tests.program import Here, task_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _commands(text: str) -> list[list[str]]:
    """The arguments of every `./inv …` in code, without comments, pipes and placeholders' ellipses."""
    in_blocks = [
        line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    in_lines = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = []
    for line in [*in_blocks, *in_lines]:
        match = re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:\./inv|invoke) (.*)", line)
        if match and not re.match(r"(--list|--help|-l|-f)\b", match[1]):
            words = shlex.split(
                re.split(r"\s+[|>&;#]|\s+2>|…$", match[1])[0].replace("…", "x"), comments=True
            )
            found.append(words)
    return [words for words in found if words and re.fullmatch(r"[a-z][a-z.-]*", words[0])]


def _named(words: Sequence[str], namespace: Collection) -> Collection:
    """The tasks and collections that `words` may name: Invoke copies all that it is given for each command."""
    found = Collection()
    first_words = {word.partition(".")[0] for word in words}
    for name in first_words & namespace.tasks.keys():
        found.add_task(namespace.tasks[name], name)
    for name in first_words & namespace.collections.keys():
        found.add_collection(namespace.collections[name], name)
    return found


def test_every_command_in_the_docs_parses(here: Here) -> None:
    commands = sorted({tuple(command) for page in PAGES for command in _commands(page.read_text())})
    assert commands
    namespace = here.namespace()
    faults = []

    for command in commands:
        try:
            here.parse(command, _named(command, namespace))
        except Exit as error:
            faults.append(f"./inv {' '.join(command)}: {error}")

    assert faults == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())

    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


def test_the_readme_lists_every_task() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Tasks\n")[2].partition("\n## ")[0]
    table = set(re.findall(r"^\| `([a-z][\w.-]*)", section, re.MULTILINE))

    assert table == task_names()
