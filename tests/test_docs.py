"""What README and docs/ say is so: their commands parse, their links lead somewhere, no settings are made up."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

PARSE = """
import json, sys
from invoke.exceptions import Exit
from tasks.__main__ import Program
def started(argv, collection=None):
    program = Program(binary_names=["inv"], namespace=collection)
    program.create_config()
    program.parse_core(["inv", *argv])
    program.parse_collection()
    return program
loaded = started([]).collection
faults = []
for argv in json.load(sys.stdin):
    try:
        started(argv, loaded).parse_tasks()
    except Exit as error:
        faults.append(f"./inv {' '.join(argv)}: {error}")
print(json.dumps(faults))
"""


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


def test_every_command_in_the_docs_parses() -> None:
    commands = sorted({tuple(command) for page in PAGES for command in _commands(page.read_text())})
    assert commands

    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        cwd=ROOT, input=json.dumps(commands), capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())

    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


def test_the_readme_lists_every_task() -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "invoke", "--list", "--list-format=flat"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    tasks = set(re.findall(r"^  ([a-z][\w.-]*)", listing, re.MULTILINE))
    section = (ROOT / "README.md").read_text().partition("\n## Tasks\n")[2].partition("\n## ")[0]
    table = set(re.findall(r"^\| `([a-z][\w.-]*)", section, re.MULTILINE))

    assert table == tasks
