from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.deploy.objects import APPLIED, Ref, Wanted, annotated
from tasks.lib.deploy.output.plans import approval, as_html, as_lines, require_no_changes
from tasks.lib.deploy.plan import document
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.steps import Action, Change, Entry, Plan, Step
from tasks.lib.errors import ChangesFound, Failure, UsageError
from tasks.lib.redaction import Redactor


def config(value: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": value}}


def planned(action: Action = Action.CHANGE, live: str = "old", wanted: str = "<new>") -> Plan:
    conf = Wanted(Ref("v1", "ConfigMap", "default", "conf"), config(wanted))
    same = Wanted(Ref("v1", "ConfigMap", "default", "same"), config("x"))
    steps = (
        Step(conf, action, "because", conf.body, None if action is Action.CREATE else config(live)),
        Step(same, Action.KEEP, "", same.body, same.body),
    )
    return document.of("staging", Planned((("config", steps),), {}, {conf.ref: conf.body}))


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        (
            Action.CHANGE,
            [
                ("", "config"),
                ("yellow", "  ~ ConfigMap conf (because)"),
                ("yellow", "      ~ data.a: old → <new>"),
                ("", "staging: 1 to change, 1 unchanged."),
            ],
        ),
        (
            Action.CREATE,
            [
                ("", "config"),
                ("green", "  + ConfigMap conf (because)"),
                ("", "staging: 1 to create, 1 unchanged."),
            ],
        ),
        (
            Action.LEAVE,
            [("", "config"), ("", "  · ConfigMap conf (because)"), ("", "staging: 1 left, 1 unchanged.")],
        ),
        (
            Action.AWAIT,
            [
                ("", "config"),
                ("cyan", "  > ConfigMap conf (because)"),
                ("", "staging: 1 to wait for, 1 unchanged."),
            ],
        ),
        (Action.KEEP, [("", "staging: 2 unchanged.")]),
    ],
)
def test_a_plan_reads_as_lines(action: Action, lines: list[tuple[str, str]]) -> None:
    assert as_lines(planned(action)) == lines


def test_fields_of_many_items_that_change_alike_are_two_lines() -> None:
    fields = tuple(Change(f"env[{name}].name", "old", "new") for name in "abcd")
    entry = Entry("web", "Deployment", "web", "default", "change", "", fields, "seal")

    lines = [line for _, line in as_lines(Plan("staging", (entry,)))]

    assert lines[2:4] == ["      ~ env[a].name: old → new", "          and 3 more fields in the same way"]


def test_a_change_of_our_annotations_alone_is_shown() -> None:
    conf = Wanted(Ref("v1", "ConfigMap", "default", "conf"), config("x"))
    live, after = (annotated(conf.body, {APPLIED: digest}) for digest in ("before", "after"))
    step = Step(conf, Action.CHANGE, "", after, live)

    (entry,) = document.of("staging", Planned((("config", (step,)),), {}, {conf.ref: after})).entries

    assert [str(change) for change in entry.changes] == [
        "~ metadata.annotations.lookit-orchestrator/applied: before → after"
    ]


def test_a_namespace_that_is_missing_leads_the_plan_once() -> None:
    made = document.with_namespace(planned(Action.KEEP), "lookit")
    assert as_lines(made) == [
        ("", "namespace"),
        ("green", "  + Namespace lookit (does not exist yet)"),
        ("", "staging: 1 to create, 2 unchanged."),
    ]
    assert document.with_namespace(made, "lookit") == made


def test_a_plan_survives_being_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(document.as_json(planned()))
    assert document.read(path) == planned()


def test_notes_come_before_the_total_and_survive_a_file(tmp_path: Path) -> None:
    noted = replace(planned(Action.KEEP), notes=("Nobody knows.",))
    path = tmp_path / "plan.json"
    path.write_text(document.as_json(noted))

    assert as_lines(noted)[:2] == [("", "notes"), ("yellow", "  ! Nobody knows.")]
    assert document.read(path) == noted
    assert "! Nobody knows." in as_html(noted)


def test_a_page_shows_values_as_text() -> None:
    page = as_html(planned())
    assert "data.a: old → &lt;new&gt;" in page
    assert "<new>" not in page


@pytest.mark.parametrize("place", ["name", "reason", "phase", "field", "value"])
def test_a_page_runs_nothing_wherever_it_stands(place: str) -> None:
    evil = "<script>alert(1)</script>\x1b[2J\u202e"
    given = {name: evil if name == place else "x" for name in ("name", "reason", "phase", "field", "value")}
    change = Change(given["field"], given["value"], None)
    entry = Entry(
        given["phase"], "ConfigMap", given["name"], "", "change", given["reason"], (change,), "seal"
    )
    page = as_html(Plan("staging", (entry,)))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_secret_values_are_redacted_in_a_plan() -> None:
    change = Change("data.url", "db://correct horse@host", None)
    entry = Entry("config", "ConfigMap", "conf", "", "change", "", (change,), "seal")
    clean = document.blanked(Plan("staging", (entry,)), Redactor(["correct horse"]))
    assert clean.entries[0].changes == (Change("data.url", "db://[redacted]@host", None),)


@pytest.mark.parametrize("before", ["", "x" * 90, "x" * 113], ids=["all of it", "the end", "a few letters"])
def test_a_secret_value_cut_in_half_is_redacted(before: str) -> None:
    secret = "correct horse battery staple " * 10
    plan = planned(live=before + secret, wanted="<new>")

    clean = document.blanked(plan, Redactor([secret, "staple"]))

    (change,) = clean.entries[0].changes
    assert change == Change("data.a", f"{before}[redacted]…", "<new>")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"format": 1, "environment": "x", "entries": [{}]}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"plan.json is not a plan"):
        document.read(path)


def test_an_approved_plan_holds_while_nothing_changed() -> None:
    document.require_same(planned(), planned())
    with pytest.raises(Failure) as caught:
        document.require_same(planned(), planned(live="moved"))
    assert caught.value.why == "ConfigMap conf: has changed since"


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(document.as_json(planned()).replace('"format": 1', '"format": 0'))
    with pytest.raises(UsageError) as caught:
        document.read(path)
    assert "Another version" in caught.value.why


def test_objects_of_one_name_in_two_namespaces_are_distinct() -> None:
    def plan(first: str) -> Plan:
        ends = (("one", first), ("two", "same"))
        return Plan("staging", tuple(Entry("p", "Role", "x", ns, "change", "", (), s) for ns, s in ends))

    with pytest.raises(Failure, match="is stale"):
        document.require_same(plan("then"), plan("now"))


@pytest.mark.parametrize(
    "edited",
    [
        {"phase": "jobs"},
        {"action": "run"},
        {"reason": "harmless"},
        {"changes": ()},
        {"changes": (Change("data.a", "old", "harmless"),)},
    ],
    ids=["phase", "action", "reason", "changes taken out", "another change"],
)
def test_an_edited_plan_file_is_refused(edited: dict[str, Any]) -> None:
    true = planned()
    index = next(at for at, entry in enumerate(true.entries) if entry.changes)
    entries = [replace(e, **edited) if at == index else e for at, e in enumerate(true.entries)]

    with pytest.raises(Failure) as caught:
        document.require_same(Plan(true.environment, tuple(entries)), true)

    assert caught.value.why == "ConfigMap conf: the plan file describes it differently than a new plan would"


def test_changes_of_kept_objects_do_not_make_a_plan_stale() -> None:
    then, now = planned(Action.LEAVE), planned(Action.LEAVE, live="moved")
    document.require_same(then, now)
    assert then.entries[0].seal == now.entries[0].seal


def test_a_stale_plan_names_added_and_missing_objects() -> None:
    empty = Plan("production", ())
    with pytest.raises(Failure) as caught:
        document.require_same(planned(), empty)
    assert caught.value.why == (
        "the plan is for staging, this deploy for production\n"
        "ConfigMap conf: is no longer deployed\n"
        "ConfigMap same: is no longer deployed"
    )
    with pytest.raises(Failure, match="is stale") as caught:
        document.require_same(empty, planned())
    assert "ConfigMap conf: was not in the plan" in caught.value.why


def test_only_a_plan_with_changes_ends_with_their_exit_code() -> None:
    require_no_changes(planned(Action.KEEP))
    with pytest.raises(ChangesFound) as caught:
        require_no_changes(planned())
    assert caught.value.exit_code == 3


def test_a_person_can_only_be_asked_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "no-terminal").open("w+") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(UsageError, match="stdin is not a terminal"):
            approval(asked=True, plan_file="")
