"""Maintenance mode: on, off, beside deploys, and after a kill at any of its requests, through the sandbox."""

import json
import re
from typing import Any

import pytest

from tests.deployed import COMMIT_B, allow_pods, deploy, deployed, objects, releases, unlock, workload
from tests.fault_proxy import FaultProxy
from tests.heard import until
from tests.program import Ended
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

IN = ("--environment", "staging")
APP = "gcr.io/mit-lookit/lookit:1"
PAGE = {"lookit-orchestrator/maintenance": "maintenance"}
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
}  # fmt: skip


def application(name: str, behaviour: str = "", kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    found = workload(name, behaviour, kind, **spec)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = APP
    return found


def hold(case: Case, *more: dict[str, Any], web: str = "", worker: str = "") -> None:
    """Web, a worker of two pods, one that says no number, and a queue that is not the application."""
    case.hold_only(
        application("web", web), application("worker", worker, replicas=2),
        application("builder", kind="StatefulSet", serviceName="web"), workload("queue"), SERVICE, *more,
    )  # fmt: skip


def maintain(case: Case, *options: str) -> Ended:
    return case.invoke("app.maintenance", *options, *IN)


def on(case: Case, *options: str) -> str:
    done = maintain(case, "--on", *options)
    assert done.code == 0, done.stderr
    return done.stderr


def off(case: Case) -> str:
    done = maintain(case, "--off")
    assert done.code == 0, done.stderr
    return done.stderr


def pods(case: Case) -> dict[str, int]:
    """How many pods of each workload are ready: of the pods themselves, which controllers count later."""
    found = objects(case, "deployments", "statefulsets")
    listed = case.api.get(f"{case.path}/pods")
    assert listed
    labels = [pod["metadata"]["labels"].items() for pod in listed["items"] if is_ready(pod)]
    return {
        name.partition("/")[2]: sum(one["spec"]["selector"]["matchLabels"].items() <= has for has in labels)
        for name, one in found.items()
    }


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    is_going = "deletionTimestamp" in pod["metadata"]
    return not is_going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def selected(case: Case) -> dict[str, str]:
    found: dict[str, str] = objects(case, "services")["Service/web"]["spec"]["selector"]
    return found


def seen(case: Case) -> dict[str, Any]:
    """What status says."""
    (found,) = json.loads(case.invoke("status", *IN, "--json").stdout)
    return dict(found)


def needs(case: Case) -> list[str]:
    return [
        f"{one['what']} → {one['do']}"
        for one in seen(case)["attention"]
        if one["what"].startswith("Maintenance mode")
    ]


def is_on(case: Case) -> bool:
    there = pods(case)
    return selected(case) == PAGE and there == {
        "web": 1, "worker": 0, "builder": 0, "queue": 1, "maintenance": 2,
    }  # fmt: skip


def is_off(case: Case) -> bool:
    there, left = pods(case), case.kubectl("get", "configmap", "--output=name")
    return (
        selected(case) == {"app": "web"}
        and there == {"web": 1, "worker": 2, "builder": 1, "queue": 1}
        and "lookit-orchestrator-maintenance" not in left
    )


def no_drift(case: Case) -> bool:
    done = case.invoke("release.status", *IN, "--json", "--exit-code")
    assert json.loads(done.stdout)["drift"] == [], done.stdout
    return done.code == 0


def nothing_due(case: Case) -> str:
    done = case.invoke("plan", "--branch", "develop", "--commit", "a" * 40, "--exit-code")
    assert done.code == 0, done.stderr
    return done.stderr


def test_visitors_get_the_page_and_the_site_again(environment: Case) -> None:
    case = environment
    hold(case)
    deployed(case)
    case.kubectl("scale", "statefulset", "builder", "--replicas=1")

    said = on(case, "--message", "Back at <10:00>.")

    order = ["==> page", "==> visitors get the page", "==> workers end", "is on."]
    assert [said.index(words) for words in order] == sorted(said.index(words) for words in order)
    assert is_on(case)
    page = objects(case, "deployments")["Deployment/maintenance"]["spec"]["template"]["spec"]
    assert "Back at &lt;10:00&gt;." in page["containers"][0]["env"][0]["value"]
    assert "on since" in maintain(case).stdout
    (line,) = needs(case)
    assert re.search(r"is on since .*, by \S+@\S+: Back at <10:00>\. → ./inv app.maintenance --off", line)
    assert no_drift(case)
    assert "Maintenance mode is on since" in nothing_due(case)

    on(case, "--message", "Back at noon.")
    assert "noon" in maintain(case).stdout
    assert case.invoke("app.restart", *IN).code == 0
    assert is_on(case), "a restart keeps it on"
    assert no_drift(case)

    off(case)

    assert is_off(case)
    assert maintain(case).stdout == "off\n"
    assert needs(case) == []
    assert no_drift(case)
    assert "Maintenance" not in nothing_due(case)
    assert is_off(case)
    off(case)
    assert maintain(case, "--on", "--off").code == 2
    assert maintain(case, "--message", "x").code == 2
    assert maintain(case, "--on", "--message", "x" * 1001).code == 2


def test_a_deploy_and_a_rollback_keep_it_on(environment: Case) -> None:
    case = environment
    hold(case)
    deployed(case)
    on(case)
    extra = application("extra", replicas=3)
    hold(case, extra)

    said = deployed(case, commit=COMMIT_B)

    assert "Maintenance mode is on since" in said
    assert selected(case) == PAGE
    assert pods(case) == {"web": 1, "worker": 0, "builder": 0, "queue": 1, "maintenance": 2, "extra": 0}
    assert no_drift(case)
    shown = case.invoke("release.diff", *IN, "--json").stdout
    assert "maintenance" not in shown, "it is no part of a release"
    back = case.invoke("release.rollback", *IN)
    assert back.code == 0, back.stderr
    assert is_on(case)
    assert no_drift(case)
    deployed(case, commit=COMMIT_B)

    off(case)

    assert pods(case) == {"web": 1, "worker": 2, "builder": 1, "queue": 1, "extra": 3}
    assert no_drift(case)


def test_the_recovery_after_a_failed_deploy_keeps_it_on(environment: Case) -> None:
    case = environment
    hold(case)
    deployed(case)
    on(case)
    hold(case, web="crash-loop")

    failed = deploy(case, commit=COMMIT_B)

    assert failed.code == 1
    assert releases(case)[0]["result"] == "failed, rolled back", failed.stderr
    assert is_on(case)
    assert no_drift(case)
    off(case)
    assert is_off(case)


def test_a_page_that_cannot_start_leaves_the_site(environment: Case) -> None:
    case = environment
    hold(case)
    deployed(case)
    quota = allow_pods(case, 5)

    failed = case.invoke("app.maintenance", "--on", *IN, INVOKE_TIME_LIMITS_ROLLOUT="2s")

    assert failed.code == 70, failed.stderr
    assert f"Deployment {case.name}-maintenance: " in failed.stderr
    assert selected(case) == {"app": "web"}
    (line,) = needs(case)
    assert "half on" in line
    case.api.delete(quota)
    off(case)
    assert is_off(case)


def test_workers_that_cannot_start_keep_the_page(environment: Case) -> None:
    case = environment
    hold(case)
    deployed(case)
    on(case)
    hold(case, worker="crash-loop")
    deployed(case, commit=COMMIT_B)

    failed = maintain(case, "--off")

    assert failed.code == 1
    assert "Deployment worker cannot become ready." in failed.stderr
    assert selected(case) == PAGE
    hold(case)
    deployed(case)
    off(case)
    assert is_off(case)


WRITES = r"(PATCH|POST|DELETE) .*(configmaps|deployments|services|statefulsets)/"


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("option", ["--on", "--off"])
def test_killed_at_any_request_it_is_known_and_goes_on(
    environment: Case, proxy: FaultProxy, option: str
) -> None:
    turn = {"--on": on, "--off": off}
    other = {"--on": "--off", "--off": "--on"}[option]
    with environment.behind(proxy) as case:
        hold(case)
        deployed(case)
        if option == "--off":
            on(case)
        proxy.requests.clear()
        turn[option](case)
        due, last = [one for one in proxy.requests if re.match(WRITES, one)], option
        assert len(due) >= 6
        for number in range(len(due)):
            if last == option:
                turn[other](case)
            killed_at(case, proxy, option, number)
            unlock(case)

            told = " ".join(needs(case))

            is_last = number == len(due) - 1
            assert ("half on" in told) is not is_last, told
            assert told or option == "--off"
            last = other if number % 2 else option
            turn[last](case)
            assert is_on(case) if last == "--on" else is_off(case)
        assert no_drift(case)


def killed_at(case: Case, proxy: FaultProxy, option: str, number: int) -> None:
    """Kill the task when so many of its changes were answered, and one more was made."""
    proxy.clear()
    passed = proxy.add(pattern=WRITES, times=number)
    held = proxy.add(pattern=WRITES, times=10_000, drop=True, applied=True)
    with case.started("app.maintenance", option, *IN) as running:
        until(lambda: held.hits)
        running.kill()
    assert passed.hits == number
    proxy.clear()
