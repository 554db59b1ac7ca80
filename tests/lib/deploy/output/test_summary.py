from tasks.lib.deploy.events import Record, Result
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output.table import summary
from tasks.lib.deploy.steps import Action, Step


def record(*planned: tuple[str, str, Action, str]) -> Record:
    made = Record("staging")
    for phase, name, action, result in planned:
        ref = Ref("v1", "Deployment", "default", name)
        made.plan(phase, [Step(Wanted(ref, {}), action, "", {})])
        came_to, _, detail = result.partition(": ")
        made.rows[ref].result, made.rows[ref].detail = Result(came_to), detail
    return made


def test_a_deploy_that_changed_something_lists_just_that() -> None:
    made = record(
        ("config", "conf", Action.KEEP, "unchanged"),
        ("workloads", "web", Action.CHANGE, "ready"),
        ("workloads", "worker", Action.CREATE, "ready"),
    )
    made.rows[Ref("v1", "Deployment", "default", "web")].seconds = 12.3
    made.phases = {"config": 0.01, "workloads": 12.4}

    assert summary(made, 13) == [
        "phase      object             plan    result  time",
        "workloads  Deployment web     change  ready   12 s",
        "workloads  Deployment worker  create  ready",
        "1 of 3 objects are unchanged.",
        "time: workloads 12 s",
        "staging is deployed: 2 of 3 objects changed, 13 s.",
    ]


def test_a_narrow_summary_has_one_line_per_object() -> None:
    made = record(
        ("workloads", "web", Action.CHANGE, "ready"), ("workloads", "worker", Action.CREATE, "ready")
    )
    made.rows[Ref("v1", "Deployment", "default", "web")].seconds = 12.3
    assert summary(made, 13, width=40)[:2] == ["Deployment web: ready (12 s)", "Deployment worker: ready"]


def test_an_unchanged_environment_takes_two_lines() -> None:
    made = record(
        ("config", "conf", Action.KEEP, "unchanged"),
        ("jobs", "job", Action.SKIP, "ran before"),
        ("workloads", "web", Action.KEEP, "unchanged"),
    )
    assert summary(made, 0.4) == [
        "3 of 3 objects are unchanged.",
        "staging is unchanged and ready (3 objects, 0.4 s).",
    ]


def test_an_interrupted_deploy_says_what_was_and_was_not_applied() -> None:
    made = record(
        ("config", "conf", Action.CREATE, "applied"),
        ("workloads", "web", Action.CHANGE, "waiting: 0 of 1 updated"),
        ("ingress", "way-in", Action.CREATE, "not reached"),
    )
    assert summary(made, 3) == [
        "phase      object             plan    result                   time",
        "config     Deployment conf    create  applied",
        "workloads  Deployment web     change  waiting: 0 of 1 updated",
        "ingress    Deployment way-in  create  not reached",
        "staging is not fully deployed after 3.0 s: 2 changes were sent, 1 were not. Deploying again continues.",
    ]


def test_a_deploy_that_ended_before_its_plan_says_so() -> None:
    assert summary(Record("staging"), 1) == ["Nothing was changed in the cluster."]
