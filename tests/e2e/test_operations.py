"""The tasks between deploys, on the site that really runs: logs, restarts, and commands, also on a terminal."""

import json
import signal
from pathlib import Path

import pytest

from tasks.lib import workspace
from tasks.lib.cluster.rbac import OPERATOR, roles
from tasks.lib.operate.permissions import of_task
from tasks.lib.operate.run import LABEL
from tests.real_node import wait_until
from tests.real_site import IN, Site
from tests.screen import Screen, shows

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("site")]

# What a worker still does when it is told to end.
LONG_TASK = """
from studies.tasks import send_mail
send_mail.delay("Hello", "someone@example.org", 20)  # of 30 that it has
"""


def test_a_terminal_in_a_pod_is_a_terminal(site: Site) -> None:
    with site.on_terminal("app.exec", "web", "--", "bash", "--norc") as screen:
        # kubectl tells the size once the command runs, which may have asked by then.
        screen.type("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.1; done; echo si''zed\r")
        screen.until(shows("sized"))
        screen.resize(132, 40)
        screen.type("until [ \"$(stty size)\" = '40 132' ]; do sleep 0.1; done; echo re''sized\r")
        screen.until(shows("resized"))
        screen.type("printf 'ü日' | od -An -tx1; printf '\\xc3\\xbc\\xe6\\x97\\xa5\\n'\r")
        screen.until(shows("c3 bc e6 97 a5"))
        screen.until(lambda lines: any(line.startswith("ü日") for line in lines))
        screen.type("echo be''gun; sleep 3000\r")
        screen.until(shows("begun"))
        screen.type("\x03")
        screen.type("echo af''ter $?\r")
        screen.until(shows("after 130"))
        assert workspaces(screen)
        screen.type("\x04")
        assert screen.end() == 0
    assert not workspaces(screen)


def test_a_terminated_task_leaves_a_usable_terminal_and_no_file(site: Site) -> None:
    with site.on_terminal("app.exec", "web", "--", "bash", "--norc") as screen:
        screen.type("echo be''gun\r")
        screen.until(shows("begun"))
        during = screen.is_raw
        screen.process.terminate()
        assert screen.end() == 143
        assert (during, screen.is_raw) == (True, False)
    assert not workspaces(screen)


def test_djangos_shell_takes_ctrl_c_and_ends_with_ctrl_d(site: Site) -> None:
    with site.on_terminal("app.shell") as screen:
        screen.until(lambda lines: any(line.startswith(">>>") for line in lines))
        screen.type("import time; print('be' + 'gun'); time.sleep(3000)\r")
        screen.until(shows("begun"))
        screen.type("\x03")
        screen.until(shows("KeyboardInterrupt"))
        screen.type("print('größe'.upper(), 6 * 7)\r")
        screen.until(shows("GRÖSSE 42"))
        screen.type("\x04")
        assert screen.end() == 0


def test_pipes_hand_on_bytes_and_the_exit_code(site: Site) -> None:
    data = bytes(range(256)) * 4096
    copied = site.apart("app.exec", "web", "--", "cat", stdin=data)
    failed = site.apart("app.exec", "web", "--", "sh", "-c", "echo out; echo 'error: err' >&2; exit 7")
    counted = site.apart("app.shell", stdin=b"print(6 * 7)")

    assert (copied.returncode, copied.stdout == data, copied.stderr) == (0, True, b"")
    assert (failed.returncode, failed.stdout, failed.stderr) == (7, b"out\n", b"error: err\n")
    assert (counted.returncode, counted.stdout.split()[-1]) == (0, b"42"), counted.stderr


def test_a_command_that_does_not_start_is_explained(site: Site) -> None:
    for command, code, words in (
        ("nosuch", 127, b"The command was not found in container uwsgi of pod staging-web-"),
        ("/etc/passwd", 126, b"The command cannot be run in container uwsgi of pod staging-web-"),
    ):
        done = site.apart("app.exec", "web", "--", command)
        assert (done.returncode, done.stdout) == (code, b"")
        assert done.stderr.startswith(words), done.stderr
        assert b"\n  why:  exec: " in done.stderr


def test_a_pod_that_goes_meanwhile_is_named(site: Site) -> None:
    [pod] = site.pods("worker")
    with site.started("app.exec", "worker", *IN, "--", "sh", "-c", "echo begun >&2; sleep 3000") as running:
        running.moment_of("begun")
        site.node.api.delete(f"/api/v1/namespaces/default/pods/{pod}")
        assert running.end() == 1

    assert f"Pod {pod} was removed while the command ran." in running.said
    wait_until("another is ready", lambda: site.is_ready("worker"))


def test_who_may_just_exec_needs_no_other_right(site: Site) -> None:
    email = site.node.sandbox.make_account("onlyexec", ["container.clusters.get"], [])
    items = roles(of_task("app.exec", "default"), email, OPERATOR)
    role = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    refused = site.apart("app.exec", "web", "--", "true", INVOKE_SANDBOX_ACCOUNT="onlyexec")
    said = site.kubectl("apply", "--filename=-", stdin=role)

    def works() -> bool:
        return not site.apart("app.exec", "web", "--", "true", INVOKE_SANDBOX_ACCOUNT="onlyexec").returncode

    assert "created" in said
    assert refused.returncode == 1
    wait_until("the role is known", works)


def workspaces(screen: Screen) -> list[Path]:
    """The private folders of a task, with its kubeconfig."""
    return list(workspace.memory_folder().glob(f"{workspace.PREFIX}{screen.process.pid}-*"))


def test_a_restart_is_joined_by_followed_logs(site: Site) -> None:
    [before] = site.pods("web")
    with site.started("app.logs", "web", "worker", "--follow", "--json", *IN) as following:
        following.moment_of(f"following {before}")
        done = site.invoke("app.restart", "web", *IN)
        [after] = site.pods("web")
        following.moment_of(f"following {after}")
        site.answer("/version/?after-the-restart")
        following.moment_of(f"{before} is gone")
        following.send(signal.SIGINT)
        assert following.end() == 130

    assert (done.code, before != after) == (0, True), done.stderr
    lines = [json.loads(line) for line in following.printed.splitlines()]
    assert any(line["pod"] == after for line in lines)
    assert site.answer("/")[0] == 200


def test_logs_of_several_workloads_are_in_order(site: Site) -> None:
    done = site.invoke("app.logs", "web", "worker", "--since", "2h", "--json", *IN)

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["container"] for line in lines} >= {"uwsgi", "worker"}
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)


def times(site: Site, *arguments: str) -> list[str]:
    """When each line of a log was written."""
    done = site.invoke("app.logs", *arguments, "--since", "2h", "--json", *IN)
    return [json.loads(line)["at"] for line in done.stdout.splitlines()]


def test_previous_logs_are_those_before_a_crash(site: Site) -> None:
    [pod] = site.pods("beat")
    path = f"/api/v1/namespaces/default/pods/{pod}"
    site.apart("app.exec", "beat", "--", "sh", "-c", "kill -TERM 1")

    def restarted() -> bool:
        found = site.node.api.get(path) or {"status": {"containerStatuses": []}}
        return any(one["restartCount"] for one in found["status"]["containerStatuses"])

    wait_until("it was started again", restarted)
    wait_until("it is ready again", lambda: site.node.is_ready(pod, "default"))
    previous, current = times(site, "beat", "--previous"), times(site, "beat")

    assert previous
    assert max(previous) < max(current)


def test_maintenance_fails_no_request_and_cuts_no_task(site: Site) -> None:
    [worker] = site.pods("worker")
    with site.started("app.logs", "worker", "--follow", *IN) as following, site.asked(50) as seen:
        following.moment_of(f"following {worker}")
        site.run_python(LONG_TASK)
        wait_until("the worker has begun", lambda: "send_mail" in site.node.log(worker, "default"))
        on = site.invoke("app.maintenance", "--on", *IN, "--message", "Back at <10:00>.")
        of_workers = [site.pods_of(name) for name in ("worker", "beat", "builder")]
        wait_until("kube-proxy leads to the page", lambda: site.answer("/")[0] == 503)
        web, page = site.pods("web"), site.response("/", "POST")
        shown = page.read()
        deployed = site.invoke("deploy", "--branch", "develop", *IN[2:])
        then = site.answer("/")[0]
        off = site.invoke("app.maintenance", "--off", *IN)
        wait_until("the page's pods are gone", lambda: not site.pods_of("maintenance"))
        following.send(signal.SIGINT)
        following.end()

    assert (on.code, deployed.code, off.code) == (0, 0, 0), on.stderr + deployed.stderr + off.stderr
    assert of_workers == [[], [], []]
    assert "studies.tasks.send_mail" in following.printed
    assert "succeeded in 2" in following.printed
    assert web
    assert (page.status, page.headers["Retry-After"], page.headers["Cache-Control"]) == (
        503,
        "300",
        "no-store",
    )
    assert b"Back at &lt;10:00&gt;." in shown
    assert then == 503
    assert set(seen) == {200, 503}, seen
    assert site.pods("worker")
    wait_until("kube-proxy leads to the site", lambda: site.answer("/")[0] == 200)


def runs(site: Site, path: str) -> list[str]:
    """The names of what commands of their own left at a path of the API."""
    found = site.node.api.get(f"{path}?labelSelector={LABEL}")
    assert found
    return [one["metadata"]["name"] for one in found["items"]]


def jobs(site: Site) -> list[str]:
    return runs(site, "/apis/batch/v1/namespaces/default/jobs")


def has_begun(site: Site) -> bool:
    pods = runs(site, "/api/v1/namespaces/default/pods")
    return any("begun" in site.node.log(name, "default") for name in pods)


def test_a_command_of_its_own_hands_its_exit_code_on(site: Site) -> None:
    done = site.apart("app.run", "--", "python", "manage.py", "check")
    failed = site.apart("app.run", "--", "sh", "-c", "echo out; exit 7")

    assert done.returncode == 0, done.stderr
    assert b"System check identified" in done.stdout + done.stderr
    assert (failed.returncode, failed.stdout) == (7, b"out\n")
    assert jobs(site) == []


def test_ctrl_c_ends_a_command_of_its_own(site: Site) -> None:
    with site.started("app.run", *IN, "--", "sh", "-c", "echo begun; sleep 3000") as running:
        wait_until("it has begun", lambda: has_begun(site))
        running.send(signal.SIGINT)
        assert running.end() == 130

    wait_until("its Job is gone", lambda: not jobs(site))
    newest = json.loads(site.invoke("app.runs", "--json", *IN).stdout)[0]
    assert newest["result"] == "interrupted"
