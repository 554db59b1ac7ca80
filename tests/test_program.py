"""The program behind ./inv: what it makes of a command line before Invoke reads it."""

import pytest

from tasks.__main__ import spelled_out


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["inv", "secrets.diff", "v1", "--show"], ["inv", "secrets.diff", "--revision=v1", "--show"]),
        (["inv", "secrets.diff", "--show"], ["inv", "secrets.diff", "--show"]),
        (["inv", "secrets.log", "secrets.verify"], ["inv", "secrets.log", "secrets.verify"]),
        (["inv", "secrets.edit", "a.env"], ["inv", "secrets.edit", "a.env"]),
        (
            ["inv", "secrets.exec", "--", "secrets.diff", "v1"],
            ["inv", "secrets.exec", "--", "secrets.diff", "v1"],
        ),
    ],
)
def test_an_optional_argument_gets_its_options_name(given: list[str], read: list[str]) -> None:
    assert spelled_out(given) == read
