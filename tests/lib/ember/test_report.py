"""What is told about uploads."""

import json
from datetime import UTC, datetime

import pytest

from tasks.lib.ember import report
from tasks.lib.ember.activation import Active
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.summary import Options, UploadSummary, checked
from tasks.lib.errors import UsageError


def summary(**values: object) -> UploadSummary:
    made = UploadSummary("https://bucket/index.html", files=10)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sent": 10, "stored": 2048, "seconds": 1.0}, "10 files: 10 sent (2.0 KiB), 0 unchanged, in 1.0 s."),
        (
            {"relabelled": 2, "removed": 3, "unchanged": 8, "seconds": 1.0},
            "10 files: 0 sent (0 B), 8 unchanged, 2 with new headers, 3 removed, in 1.0 s.",
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
    made = summary(to_send=["p/a"], to_copy=["p/d"], to_relabel=["p/b"], to_remove=["p/c"], unchanged=8)
    report.one(made, Options(dry_run=True), False)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "send     p/a", "copy     p/d", "relabel  p/b", "extra    p/c", "8 of 10 files are there already.",
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


def test_revisions_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions(REVISIONS, Active(("aa", "bb"), 7), False)
    shown = capsys.readouterr().err
    rows = {line.split()[1]: line for line in shown.splitlines() if " UTC " in line}
    assert rows["aa"].split()[-2] == "active"
    assert "active before" in rows["bb"]
    assert "active" not in rows["cc"]


def test_no_revisions_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions([], Active((), 0), False)

    assert capsys.readouterr().err == (
        "There is no complete revision: nothing was uploaded to this prefix, or only in place.\n"
    )


@pytest.mark.parametrize("listed", [REVISIONS, []])
def test_an_active_revision_that_is_not_listed_is_told(
    capsys: pytest.CaptureFixture[str], listed: list[Revision]
) -> None:
    report.revisions(listed, Active(("dd", "aa"), 7), False)

    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "dd is active and not whole; `./inv ember.verify` says what to do."


def test_revisions_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    report.revisions(REVISIONS[:1], Active(("bb",), 7), True)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "bb", "created": "2026-02-01T00:00:00+00:00", "files": 3, "size": 2048, "active": True}
    ]


def test_options_that_do_not_go_together_are_bad_usage() -> None:
    assert checked(Options(in_place=True, delete_extra=True)) == Options(in_place=True, delete_extra=True)
    with pytest.raises(UsageError, match="--no-activate is not for --in-place"):
        checked(Options(in_place=True, activate=False))


def test_what_was_allowed_although_it_is_broken_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    report.one(summary(broken=["a.js: it is gzip"]), Options(allow_broken=True), False)

    assert capsys.readouterr().err.splitlines()[0] == "warning: a.js: it is gzip"
