"""Tests of properties, which Hypothesis looks for examples against."""

from hypothesis import settings


def test_no_example_fails_for_the_time_that_it_took() -> None:
    assert settings().deadline is None
