"""The forms of values."""

import pytest

from tasks.lib.settings.values import is_this_machine


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.53", True),
        ("[::1]", True),
        ("::1", True),
        ("127.example", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, expected: bool) -> None:
    assert is_this_machine(host) is expected
