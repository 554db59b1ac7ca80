"""What is told about uploads."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tasks.lib.ember import report
from tasks.lib.ember.activation import Page
from tasks.lib.ember.overview import Overview
from tasks.lib.ember.revisions import Listed, Revision
from tasks.lib.ember.summary import Options, UploadSummary


def summary(**values: object) -> UploadSummary:
    made = UploadSummary("https://bucket/index.html", files=10)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"revision": "1f", "active": "1f", "relabelled": 2, "unchanged": 8, "seconds": 1.0},
            "Revision 1f: 10 files: 0 sent (0 B), 8 unchanged, 2 with new headers, in 1.0 s. It is active.",
        ),
        (
            {"revision": "1f", "active": "1f", "unchanged": 10},
            "Revision 1f: 10 files: 0 sent (0 B), 10 unchanged, in 0.0 s. It is active.",
        ),
        (
            {"revision": "1f", "active": "1f", "sent": 1, "stored": 4, "copied": 9},
            "Revision 1f: 10 files: 1 sent (4 B), 0 unchanged, 9 copied within the bucket, in 0.0 s. It is active.",
        ),
        (
            {"revision": "1f", "active": "2e", "unchanged": 10},
            "Revision 1f: 10 files: 0 sent (0 B), 10 unchanged, in 0.0 s. It is not active.",
        ),
    ],
)
def test_one_sentence_on_an_upload(values: dict[str, object], sentence: str) -> None:
    assert report.sentence(summary(**values)) == sentence


def test_a_dry_run_lists_what_it_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    made = summary(to_send=["p/a"], to_copy=["p/d"], to_relabel=["p/b"], unchanged=8)
    report.one(made, Options(dry_run=True), False)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "send     p/a", "copy     p/d", "relabel  p/b", "8 of 10 files are there already.",
    ]  # fmt: skip
    assert out == "https://bucket/index.html\n"


def test_a_summary_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    report.one(summary(sent=3), Options(), True)
    assert json.loads(capsys.readouterr().out)["sent"] == 3


REVISIONS = [
    Revision("bb", datetime(2026, 2, 1, tzinfo=UTC), 3, 2048, 1),
    Revision("aa", datetime(2026, 1, 1, tzinfo=UTC), 2, 10, 1),
    Revision("cc", datetime(2025, 1, 1, tzinfo=UTC), 1, 1, 1),
]


def overview(*history: str, listed: Sequence[Revision] = REVISIONS) -> Overview:
    """What lies at a place where revision cc lacks a file."""
    return Overview(Page(history), Listed({one.name: one for one in listed}, []), {}, {}, {"cc"}, [])


def test_revisions_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions(overview("aa", "bb"), False)
    shown = capsys.readouterr().err
    rows = {line.split()[1]: line for line in shown.splitlines() if " UTC " in line}
    assert rows["aa"].split()[-2] == "active"
    assert "active before" in rows["bb"]
    assert "incomplete" in rows["cc"]


def test_no_revisions_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions(overview(listed=[]), False)

    assert capsys.readouterr().err == (
        "There is no revision: nothing was uploaded to this prefix by this tool.\n"
    )


@pytest.mark.parametrize("listed", [REVISIONS, []])
def test_an_active_revision_that_is_not_listed_is_told(
    capsys: pytest.CaptureFixture[str], listed: list[Revision]
) -> None:
    report.revisions(overview("dd", "aa", listed=listed), False)

    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "dd is active and has no manifest: upload its archive again."


def test_revisions_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions(overview("bb", listed=REVISIONS[:1]), True)
    row = {"name": "bb", "created": "2026-02-01T00:00:00+00:00", "files": 3, "size": 2048}
    assert json.loads(capsys.readouterr().out) == [{**row, "active": True, "complete": True, "strays": []}]


def test_strays_stand_in_the_active_revisions_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = overview("bb")
    found.strays = ["p/robots.txt"]
    report.revisions(found, True)
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["strays"] for row in rows} == {"bb": ["p/robots.txt"], "aa": [], "cc": []}


def test_allowed_problems_are_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    report.one(summary(broken=["a.js: it is gzip"]), Options(allow_broken=True), False)

    assert capsys.readouterr().err.splitlines()[0] == "warning: a.js: it is gzip"
