"""docs/secrets.md and docs/security.md name tasks, options and settings that exist."""

import re

import pytest

from tests.builders import ROOT, checked_in_settings
from tests.program import task_names

PAGES = ("docs/secrets.md", "docs/security.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_task_on_the_page_exists(page: str) -> None:
    named = set(re.findall(r"\./inv ([a-z][a-z.-]*[a-z])", (ROOT / page).read_text()))
    assert named
    assert named <= task_names()


def test_every_secret_task_is_explained() -> None:
    text = (ROOT / "docs/secrets.md").read_text()
    assert {task for task in task_names() if task.startswith("secrets.") and task not in text} == set()


def test_documented_commands_use_the_key_of_the_settings() -> None:
    settings = checked_in_settings()
    assert settings.kms.key_name("kubernetes-secrets") in (ROOT / "docs/secrets.md").read_text()
