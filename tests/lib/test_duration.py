"""Durations for people."""

import pytest

from tasks.lib.duration import spoken


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (3599.6, "1 h 00 min"), (3720, "1 h 02 min")],
)  # fmt: skip
def test_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
