"""What is remembered of a deploy that was killed."""

import pytest

from tasks.lib.deploy.killed import NOT_KEPT, facts

NOTES = {"commit": "abc", "branch": "develop"}


@pytest.mark.parametrize(
    ("spec", "began", "seconds"),
    [
        (
            {"acquireTime": "2026-01-02T03:04:05.500000Z", "renewTime": "2026-01-02T03:05:07.600000Z"},
            "2026-01-02T03:04:05Z",
            "62.1",
        ),
        ({"acquireTime": "yesterday"}, "", "0.0"),
        ({}, "", "0.0"),
    ],
    ids=["whole", "no times", "nothing"],
)
def test_its_lease_says_who_when_and_how_long(spec: dict[str, str], began: str, seconds: str) -> None:
    lease = {"metadata": {}, "spec": {"holderIdentity": "me@here (1)", **spec}}

    assert facts(lease, NOTES) == {
        "commit": "abc",
        "branch": "develop",
        "who": "me@here (1)",
        "began": began,
        "seconds": seconds,
        "phases": "{}",
        "images": "[]",
        "secrets": "[]",
        "result": "killed",
        "not_kept": NOT_KEPT,
    }
