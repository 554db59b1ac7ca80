"""Findings: how checks become rows and JSON."""

import json

from tasks.lib.console import Styled
from tasks.lib.doctor.checks import Check, Finding, as_json, as_rows, run
from tasks.lib.errors import Failure


def _broken() -> str:
    raise Failure("It is [not] there.", "no such file", "apt-get install it")


def test_checks_keep_their_order_and_failures_become_findings() -> None:
    checks = [
        Check("machine", "a", lambda: "1.0"),
        Check("machine", "b", _broken),
        Check("machine", "c", _broken, needed=False),
    ]

    assert run(checks) == [
        Finding("machine", "a", "ok", "1.0"),
        Finding("machine", "b", "problem", "It is [not] there.\nno such file", "apt-get install it"),
        Finding("machine", "c", "note", "It is [not] there.\nno such file", "apt-get install it"),
    ]


def test_an_unreadable_file_is_one_finding() -> None:
    def unreadable() -> str:
        raise PermissionError(13, "Permission denied", "/etc/lookit")

    found = run([Check("m", "a", unreadable), Check("m", "b", lambda: "1.0")])

    assert [(one.subject, one.state, one.detail) for one in found] == [
        ("a", "problem", "/etc/lookit cannot be used.\nPermission denied."),
        ("b", "ok", "1.0"),
    ]
    assert found[0].fix == "Look at its owner and mode: ls -ld /etc/lookit"


def test_rows_escape_markup_and_end_with_the_fix() -> None:
    (problem,) = run([Check("m", "b", _broken)])

    assert as_rows([problem]) == [
        [
            "m",
            "b",
            Styled("problem", "red"),
            ["It is [not] there.", "no such file", Styled("→ apt-get install it", "bold")],
        ]
    ]


def test_json_has_every_field() -> None:
    assert json.loads(as_json([Finding("m", "a", "ok", "1.0")])) == [
        {"area": "m", "subject": "a", "state": "ok", "detail": "1.0", "fix": ""}
    ]


def test_one_cause_is_one_problem() -> None:
    checks = [
        Check("staging", "cluster", lambda: "fine", after=("credentials",)),
        Check("this machine", "credentials", _broken),
        Check("staging", "files", _broken),
        Check("staging", "decrypt", lambda: "fine", after=("files",)),
        Check("production", "decrypt", lambda: "fine", after=("files",)),
        Check("production", "files", lambda: "4 files"),
    ]

    assert [(f.area, f.subject, f.state, f.detail) for f in run(checks) if f.state != "problem"] == [
        ("staging", "cluster", "skipped", "needs: credentials"),
        ("staging", "decrypt", "skipped", "needs: files"),
        ("production", "decrypt", "ok", "fine"),
        ("production", "files", "ok", "4 files"),
    ]
