"""What is done with the application's workloads between deploys, through the sandbox."""

import json
import re
import signal
from typing import Any

import pytest

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.lock.lease import Lock
from tests.deployed import SERVICE, deployed, objects, releases, workload
from tests.fault_proxy import FaultProxy
from tests.heard import until
from tests.program import Ended
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

IN = ("--environment", "staging")
TOKEN = "Zq7-hidden-9Kx"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "token"},
    "stringData": {"TOKEN": TOKEN},
}


def restart(case: Case, *names: str) -> Ended:
    return case.invoke("app.restart", *names, *IN)


def started(case: Case) -> dict[str, str]:
    """When each workload was last restarted, by its name; empty for never."""
    found: dict[str, dict[str, Any]] = objects(case, "deployments", "statefulsets")
    notes = {
        name: one["spec"]["template"]["metadata"].get("annotations") or {} for name, one in found.items()
    }
    return {name: note.get("kubectl.kubernetes.io/restartedAt", "") for name, note in notes.items()}


def test_a_restart_is_rolling_and_no_drift(environment: Case) -> None:
    case = environment
    queue = workload("queue", kind="StatefulSet", serviceName="new-service")
    case.hold_only(workload("web"), queue, SERVICE)
    deployed(case)
    before = case.kubectl("get", "pods", "-o", "name")
    suggested = case.invoke("--complete", "--", "./inv", "app.restart", *IN, "--workload", "")
    assert suggested.stdout.split() == ["queue", "web"], suggested.stderr

    done = restart(case, "web", "queue")

    assert done.code == 0, done.stderr
    assert "==> restart" in done.stderr
    assert done.stderr.endswith("Restarted: Deployment web, StatefulSet queue.\n")
    assert all(started(case).values())
    uids = case.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.annotations}")
    assert uids.count("restartedAt") == 2, before
    found = json.loads(case.invoke("status", *IN, "--json").stdout)
    assert found[0]["drift"] == 0
    assert "unchanged" in deployed(case)
    assert all(started(case).values()), "a deploy does not restart them again"
    assert len(releases(case)) == 1, "a restart is no release"


def test_a_restart_that_fails_says_why(environment: Case) -> None:
    case = environment
    case.hold_only(workload("web"))
    deployed(case)
    template = {"annotations": {"sandbox.lookit.org/behave": "crash-loop"}}
    paused = json.dumps({"spec": {"paused": True, "template": {"metadata": template}}})
    case.kubectl("patch", "deployment", "web", "-p", paused)
    case.kubectl("patch", "deployment", "web", "-p", '{"spec": {"paused": false}}')

    failed = restart(case, "web")

    assert failed.code == 1
    assert "Deployment web cannot become ready." in failed.stderr
    assert "CrashLoopBackOff" in failed.stderr
    assert case.kubectl("get", "lease").strip() == ""


def test_nothing_restarts_while_a_deploy_holds_the_lock(environment: Case) -> None:
    case = environment
    case.hold_only(workload("web"))
    deployed(case)
    lock = Lock(connect(case.settings, case.environment).api, case.environment, Claim("kim@laptop"))

    with lease.held(lock, wait=0, tell=lambda event: None):
        refused = restart(case, "web")
        assert "kim@laptop" in json.loads(case.invoke("status", *IN, "--json").stdout)[0]["lock"]

    assert refused.code == 1
    assert "Another deploy holds the lock: nothing was changed." in refused.stderr
    assert not any(started(case).values())
    assert restart(case, "wbe").code == 2


def annotated(made: dict[str, Any], **notes: str) -> dict[str, Any]:
    """A workload with annotations on its pods."""
    made["spec"]["template"]["metadata"]["annotations"].update(notes)
    return made


def that_logs(name: str, *lines: str) -> dict[str, Any]:
    """A Deployment whose container writes these lines, one every 20 ms."""
    return annotated(workload(name), **{"sandbox.lookit.org/logs": "\n".join(lines)})


def test_logs_of_workloads_are_merged_and_masked(environment: Case) -> None:
    case = environment
    case.hold_only(
        that_logs("web", "one", f"token {TOKEN}"), that_logs("worker", "two"), workload("beat"), SECRET
    )
    deployed(case)

    both = case.invoke("app.logs", "web", "worker", *IN, "--json")
    some = case.invoke("app.logs", "web", *IN, "--grep", "^tok")
    none = case.invoke("app.logs", "web", *IN, "--previous")

    lines = [json.loads(line) for line in both.stdout.splitlines()]
    assert [line["text"] for line in lines if line["pod"].startswith("web")] == ["one", "token [redacted]"]
    assert {line["text"] for line in lines if line["pod"].startswith("worker")} == {"two"}
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert re.fullmatch(r"web-\S+ main \| token \[redacted\]\n", some.stdout)
    assert (none.code, none.stdout) == (0, "")
    assert "previous terminated container" in none.stderr


def followed(said: str) -> list[str]:
    """The pods whose logs were taken up, in that order."""
    return re.findall(r"following (\S+),", said)


def test_followed_logs_join_new_pods_and_survive_cuts(environment: Case, proxy: FaultProxy) -> None:
    texts = [f"line {number}" for number in range(200)]
    with environment.behind(proxy) as case:
        case.hold_only(that_logs("web", *texts))
        deployed(case)
        cut = proxy.add(pattern=r"GET .*/log\?", times=3, cut_after=1.0)
        with case.started("app.logs", "web", *IN, "--since", "1s", "--follow", "--json") as following:
            following.moment_of("following web-")
            assert restart(case, "web").code == 0
            until(lambda: len(followed(following.said)) == 2)
            until(lambda: cut.hits == cut.times)
            until(lambda: texts[-1] in logged(following.printed, followed(following.said)[1]))
            following.send(signal.SIGINT)
            assert following.end() == 130

    new = followed(following.said)[1]
    assert logged(following.printed, new) == texts


def logged(printed: str, pod: str) -> list[str]:
    """What a pod has logged; the last line may be on its way."""
    lines = [json.loads(line) for line in printed.splitlines(keepends=True) if line.endswith("\n")]
    return [line["text"] for line in lines if line["pod"] == pod]


def run(case: Case, *arguments: str) -> Ended:
    return case.invoke("app.run", *IN, *arguments)


def history(case: Case) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(case.invoke("app.runs", *IN, "--json").stdout)
    return found


def test_a_command_runs_once_and_leaves_only_its_history(environment: Case) -> None:
    case = environment
    logs = {"sandbox.lookit.org/logs": f"migrated with {TOKEN}"}
    case.hold_only(annotated(workload("web"), **logs), SECRET)
    deployed(case)

    done = run(case, "--", "python", "manage.py", f"--token={TOKEN}")

    assert (done.returncode, done.stdout) == (0, "migrated with [redacted]\n"), done.stderr
    assert case.kubectl("get", "jobs").strip() == ""
    [one] = history(case)
    assert (one["command"], one["result"]) == ("python manage.py --token=[redacted]", "exit code 0")
    assert one["ended"] > one["began"]
    assert json.loads(case.invoke("status", *IN, "--json").stdout)[0]["drift"] == 0


def test_the_exit_code_of_a_command_is_handed_on(environment: Case) -> None:
    case = environment
    fails = {"sandbox.lookit.org/behave": "job-fail", "sandbox.lookit.org/exit-code": "7"}
    case.hold_only(annotated(workload("web"), **fails))
    deployed(case)

    failed = run(case, "--", "false")

    assert failed.returncode == 7, failed.stderr
    assert case.kubectl("get", "jobs").strip() == ""
    assert run(case).returncode == 2, "no command"
    detached = run(case, "--detach", "--", "false")
    assert detached.returncode == 0
    until(lambda: history(case)[0]["result"] == "failed")
    assert [one["result"] for one in history(case)] == ["failed", "exit code 7"]
    assert detached.stdout.strip() == history(case)[0]["name"]


def test_an_interrupted_command_leaves_no_job(environment: Case) -> None:
    case = environment
    case.hold_only(annotated(workload("web"), **{"sandbox.lookit.org/behave": "hang"}))
    deployed(case)

    with case.started("app.run", *IN, "--", "sleep", "600") as running:
        until(lambda: "Running" in case.kubectl("get", "pods", "--selector", "lookit-orchestrator/run"))
        running.send(signal.SIGINT)
        assert running.end() == 130

    until(lambda: case.kubectl("get", "jobs").strip() == "")
    assert [one["result"] for one in history(case)] == ["interrupted"]


def test_status_names_the_command_of_a_killed_task(environment: Case) -> None:
    case = environment
    case.hold_only(annotated(workload("web"), **{"sandbox.lookit.org/behave": "hang"}))
    deployed(case)
    assert run(case, "--detach", "--", "sleep", "600").returncode == 0

    with case.started("app.run", *IN, "--", "sleep", "700") as running:
        until(
            lambda: case.kubectl("get", "pods", "--selector", "lookit-orchestrator/run").count("Running") == 2
        )
        running.send(signal.SIGKILL)
        running.end()

    found = json.loads(case.invoke("status", *IN, "--json").stdout)[0]["attention"]
    [left] = [one for one in found if "run-" in one["what"]]
    assert "`sleep 700` of " in left["what"]
    assert f"kubectl -n {case.name} delete job {case.name}-run-" in left["do"]
