"""The environment that one child gets."""

import pytest

from tasks.lib.errors import Failure, UsageError
from tasks.lib.redaction import Secret
from tasks.lib.secrets.run import become, variables


def test_env_files_become_variables_and_other_files_do_not() -> None:
    plaintexts = {
        "a.env": Secret(b"A=1\nB=x=y \n"), "creds.json": Secret(b'{"C": "3"}'), "b.env": Secret(b"A=2\nD-e=\xc3\xa4\n"),
    }  # fmt: skip
    assert variables(plaintexts, "staging") == {"A": b"2", "B": b"x=y ", "D-e": "ä".encode()}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"A=canary\0\n", "- line 1: A contains a NUL byte, which an environment variable cannot"),
        (b"A\0=canary\n", "- line 1: Kubernetes does not accept the key: only letters, digits, - _ and ."),
        (b"A=canary\nA=canary\n", "- line 2: A is there twice: it is on line 1 already"),
    ],
)
def test_invalid_secrets_run_nothing_and_show_no_value(content: bytes, why: str) -> None:
    with pytest.raises(Failure) as refused:
        variables({"a.env": Secret(content)}, "staging")
    assert refused.value.what == "a.env is not valid, so nothing was run."
    assert refused.value.why == why
    assert refused.value.next_step == "Fix it: ./inv secrets.edit FILE --environment staging"


def test_no_command_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="No command was given"):
        become([], {}, "staging")
