"""docs/secrets.md and docs/security.md name tasks, options and settings that exist."""

import json
import re
import subprocess
import sys

import pytest

from tests.builders import ROOT, checked_in_settings

PAGES = ("docs/secrets.md", "docs/security.md")


@pytest.fixture(scope="module")
def tasks() -> set[str]:
    argv = [sys.executable, "-m", "tasks", "--list", "--list-format=json"]
    listed = json.loads(subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout)
    return set(names(listed))


def names(collection: dict[str, list[dict[str, object]]], before: str = "") -> list[str]:
    found = [before + str(task["name"]) for task in collection["tasks"]]
    for inner in collection["collections"]:
        found += names(inner, f"{before}{inner['name']}.")  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_task_on_the_page_exists(page: str, tasks: set[str]) -> None:
    named = set(re.findall(r"\./inv ([a-z][a-z.-]*[a-z])", (ROOT / page).read_text()))
    assert named
    assert named <= tasks


def test_every_secret_task_is_explained(tasks: set[str]) -> None:
    text = (ROOT / "docs/secrets.md").read_text()
    assert {task for task in tasks if task.startswith("secrets.") and task not in text} == set()


def test_the_key_of_the_command_by_hand_is_the_one_in_settings() -> None:
    settings = checked_in_settings()
    assert settings.kms.key_name("kubernetes-secrets") in (ROOT / "docs/secrets.md").read_text()
