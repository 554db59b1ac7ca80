"""The program behind ./inv: what it makes of a command line before Invoke reads it."""

import pytest

from tasks.__main__ import with_left_out_names

NAMES = {"secrets.diff": "revision", "secrets.log": "file", "secrets.verify": "", "secrets.edit": ""}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["secrets.diff", "v1", "--show"], ["secrets.diff", "--revision", "v1", "--show"]),
        (["secrets.diff", "--show"], ["secrets.diff", "--show"]),
        (["secrets.log", "secrets.verify"], ["secrets.log", "secrets.verify"]),
        (["secrets.edit", "a.env"], ["secrets.edit", "a.env"]),
    ],
)
def test_a_word_after_its_task_gets_its_options_name(given: list[str], read: list[str]) -> None:
    assert with_left_out_names(given, NAMES) == read
