"""The environment that one child gets."""

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.redaction import Secret
from tasks.lib.secrets.child import become, variables


def test_env_files_become_variables_and_other_files_do_not() -> None:
    plaintexts = {
        "a.env": Secret(b"A=1\nB=x=y \n"), "creds.json": Secret(b'{"C": "3"}'), "b.env": Secret(b"A=2\nD-e=\xc3\xa4\n"),
    }  # fmt: skip
    assert variables(plaintexts) == {"A": b"2", "B": b"x=y ", "D-e": "ä".encode()}


def test_a_nul_byte_is_refused_without_showing_the_value() -> None:
    with pytest.raises(UsageError) as refused:
        variables({"a.env": Secret(b"A=canary\0\n")})
    assert refused.value.what == "A: no environment variable can hold a NUL byte."


def test_no_command_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="No command was given"):
        become([], {})
