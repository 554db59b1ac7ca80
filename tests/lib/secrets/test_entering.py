"""How a value gets in."""

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.redaction import Secret
from tasks.lib.secrets.entering import key_and_value


@pytest.mark.parametrize(
    ("given", "in_history", "key", "value"),
    [
        ("NAME", False, "NAME", None),
        ("NAME=-", False, "NAME", None),
        ("NAME=a=b", True, "NAME", Secret(b"a=b")),
        ("NAME=", True, "NAME", Secret(b"")),
    ],
)
def test_name_and_value_are_taken_apart(
    given: str, *, in_history: bool, key: str, value: Secret | None
) -> None:
    assert key_and_value(given, in_history) == (key, value)


def test_a_value_on_the_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        key_and_value("NAME=canary", False)
    assert refused.value.what == "The value of NAME stands on the command line."
    assert "canary" not in str(refused.value)
