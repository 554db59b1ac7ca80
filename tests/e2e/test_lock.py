"""The lock, through the sandbox's real API server."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.events import Event
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.lock.lease import Lock
from tasks.lib.errors import Failure
from tests.deployed import COMMIT_A, COMMIT_B, deploy, deployed, releases, words, workload
from tests.fault_proxy import FaultProxy
from tests.heard import LONGEST, until
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "d" * 40


def a_lock(case: Case, holder: str) -> Lock:
    return Lock(
        connect(case.settings, case.environment).api, case.environment, Claim(holder, {"commit": COMMIT})
    )


def ignore(_event: Event) -> None:
    """Tell nobody."""


def test_of_a_hundred_races_never_two_are_inside(environment: Case) -> None:
    locks = [a_lock(environment, f"racer-{number}") for number in range(4)]
    inside = threading.Semaphore(1)
    entered = []

    def race(one: Lock) -> None:
        for _ in range(25):
            with lease.held(one, wait=LONGEST, tell=ignore):
                assert inside.acquire(blocking=False), "two inside"
                entered.append(one)
                inside.release()

    # They announce that they wait, which makes earlier ones give way: here all are meant to go on.
    for one in locks:
        one.is_superseded_in = lambda lease: False  # type: ignore[method-assign]
    with ThreadPoolExecutor(len(locks)) as pool:
        for done in [pool.submit(race, one) for one in locks]:
            done.result()

    assert len(entered) == 100


def test_a_held_lock_without_waiting_fails_at_once(environment: Case) -> None:
    with (
        lease.held(a_lock(environment, "first@here"), wait=0, tell=ignore),
        pytest.raises(Failure, match="Another deploy holds the lock") as caught,
        lease.held(a_lock(environment, "second@there"), wait=0, tell=ignore),
    ):
        pass
    assert caught.value.why.startswith("first@here, since ")
    assert f"commit {COMMIT}" in caught.value.why


def test_a_later_waiter_supersedes_an_earlier_one(environment: Case) -> None:
    first, second = a_lock(environment, "first"), a_lock(environment, "second")
    with lease.held(a_lock(environment, "holder"), wait=0, tell=ignore):
        second_waits = threading.Event()

        def tell(event: Event) -> None:
            second_waits.set()

        with ThreadPoolExecutor(1) as pool:
            earlier = pool.submit(lambda: lease.held(first, wait=LONGEST, tell=tell).__enter__())
            assert second_waits.wait(LONGEST)
            second.announce()
            with pytest.raises(Failure, match="A later deploy waits too"):
                earlier.result(timeout=LONGEST)


def test_a_lost_lock_stops_whoever_held_it(environment: Case) -> None:
    one = a_lock(environment, "first")
    with lease.held(one, wait=0, tell=ignore):
        one.require()
        environment.kubectl("delete", "lease", lease.NAME)
        assert one.lost.wait(LONGEST)
        with pytest.raises(Failure, match="The lock was lost"):
            one.require()


def test_a_lost_answer_does_not_lose_the_lock(environment: Case, proxy: FaultProxy) -> None:
    with environment.behind(proxy) as case:
        lost = [
            proxy.add(pattern=f"{method} .*/leases", drop=True, applied=True) for method in ("POST", "PUT")
        ]
        one = a_lock(case, "first")

        assert one.take() is None
        assert one.renew()

        assert [fault.hits for fault in lost] == [1, 1]


def test_an_unanswered_renewal_is_retried(environment: Case, proxy: FaultProxy) -> None:
    """That this is in time: tests/lib/deploy/lock/test_lease.py."""
    beside = a_lock(environment, "beside")
    with environment.behind(proxy) as case, lease.held(a_lock(case, "holder"), wait=0, tell=ignore):
        mute = proxy.add(pattern="GET .*/leases", latency=LONGEST)
        until(lambda: mute.hits)
        before = beside.read()

        until(lambda: renewed(beside.read()) > renewed(before))


def renewed(found: Any) -> str:
    assert found["spec"]["holderIdentity"] == "holder"
    return str(found["spec"]["renewTime"])


def test_a_waiting_deploy_does_not_disturb_the_holder(environment: Case) -> None:
    holder, waiter = a_lock(environment, "holder"), a_lock(environment, "waiter")
    assert holder.take() is None
    read, left = holder.read, [waiter.announce]

    def read_and_be_overtaken() -> Any:
        there = read()
        if left:
            left.pop()()
        return there

    holder.read = read_and_be_overtaken  # type: ignore[method-assign]

    assert holder.renew()

    assert not left
    lease = holder.read()
    assert lease
    assert waiter.is_superseded_in(lease) is False
    assert holder.is_superseded_in(lease)


def test_a_holder_that_stood_still_asks_before_it_writes_again(environment: Case) -> None:
    stopped = a_lock(environment, "stopped")
    assert stopped.take() is None
    environment.kubectl(
        "patch", "lease", lease.NAME, "--patch", json.dumps({"spec": {"holderIdentity": "b"}})
    )
    stopped.renewed = time.time()  # kubectl may have taken long
    stopped.require()

    stopped.renewed -= lease.SECONDS

    with pytest.raises(Failure, match="The lock was lost") as caught:
        stopped.require()
    assert caught.value.why.startswith("b, since ")


def test_a_roll_back_that_waits_makes_way_for_no_deploy(environment: Case) -> None:
    back = Claim("somebody", makes_way=False)
    returning = Lock(
        connect(environment.settings, environment.environment).api, environment.environment, back
    )
    with lease.held(a_lock(environment, "holder"), wait=0, tell=ignore):
        returning.announce()
        a_lock(environment, "later").announce()

        found = returning.read()

    assert found
    assert not returning.is_superseded_in(found)


def test_the_lock_of_a_killed_deploy_expires(environment: Case) -> None:
    environment.hold_only(workload("web", "never-ready"))
    with environment.started(*words()) as deploying:
        deploying.moment_of("Deployment web: ")
        deploying.kill()

    refused = deploy(environment, "--no-wait")
    assert refused.code == 1
    assert "Another deploy holds the lock: nothing was changed." in refused.stderr

    environment.hold_only(workload("web"))
    told = deployed(environment)
    assert "waiting for the deploy of" in told
    assert "was killed, or lost the cluster: it is kept as release 1." in told
    assert environment.kubectl("get", "leases", "-o", "name") == ""
    newest, before = releases(environment)
    assert (newest["number"], newest["result"], newest["commit"]) == (2, "deployed", COMMIT_A)
    assert (before["number"], before["result"], before["commit"]) == (1, "killed", COMMIT_A)
    assert before["who"] in told
    shown = environment.invoke("release.show", "1", "--environment", "staging", "--json")
    assert json.loads(shown.stdout)["objects"] is None


def test_a_dead_deploy_is_reported_and_not_rolled_back_over(environment: Case) -> None:
    for commit in (COMMIT_A, COMMIT_B):
        data = {"made": commit}
        environment.hold_only(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
        )
        deployed(environment, commit=commit)
    assert a_lock(environment, "dead@there").take() is None

    refused = environment.invoke("release.rollback", "--environment", "staging")

    assert refused.code == 1
    assert "The last good release before the present one is 2 now; it was 1." in refused.stderr
    assert a_lock(environment, "another@there").take() is None
    given_up = environment.invoke(
        "release.unlock", "--environment", "staging", "--by", "me", "--reason", "it is dead"
    )
    assert "it is kept as release 4." in given_up.stderr
    status = environment.invoke("release.status", "--environment", "staging")
    assert status.code == 0, status.stderr
    assert "staging: release 2, commit" in status.stderr
    assert "Release 4 after it, commit ddddddd, was killed: what it applied stays." in status.stderr
    done = environment.invoke("release.rollback", "--environment", "staging", "--to", "2")
    assert done.code == 0, done.stderr


def test_a_lock_is_given_up_by_name_and_reason_only(environment: Case) -> None:
    one = a_lock(environment, "dead@elsewhere")
    assert one.take() is None

    refused = environment.invoke("release.unlock", "--environment", "staging")
    assert refused.code == 2
    done = environment.invoke(
        "release.unlock", "--environment", "staging", "--by", "me", "--reason", "it is dead"
    )

    assert done.code == 0, done.stderr
    assert "held by dead@elsewhere" in done.stderr
    assert one.read() is None
    assert "me released the lock of dead@elsewhere: it is dead" in environment.kubectl("get", "events")


def test_a_lock_is_released_without_permission_for_events(environment: Case) -> None:
    one = a_lock(environment, "dead@elsewhere")
    assert one.take() is None
    account = f"u{environment.name}"
    email = environment.sandbox.make_account(account, ["container.clusters.get"], [])
    environment.kubectl("create", "role", "unlocker", "--verb=get,delete", "--resource=leases")
    environment.kubectl("create", "rolebinding", "unlocker", "--role=unlocker", f"--user={email}")

    done = environment.as_account(account).invoke(
        "release.unlock", "--environment", "staging", "--by", "me", "--reason", "it is dead"
    )

    assert done.code == 0, done.stderr
    assert "held by dead@elsewhere" in done.stderr
    assert "No event could be left that says so: " in done.stderr
    assert one.read() is None
