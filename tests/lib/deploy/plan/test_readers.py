"""Who reads configuration that changes under the same name, and whether that restarts it."""

from typing import Any

import pytest

from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan import readers
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.steps import Action, Step

SECRET = Ref("v1", "Secret", "default", "credentials")
WEB = Ref("apps/v1", "Deployment", "default", "web")


def secret(value: str) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": "credentials"}, "data": {"PASSWORD": value}}


def web(image: str = "app:1", reads: str = "credentials") -> dict[str, Any]:
    container = {"name": "web", "image": image, "envFrom": [{"secretRef": {"name": reads, "optional": True}}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1, "template": template}}


def step(ref: Ref, action: Action, body: dict[str, Any], live: dict[str, Any] | None) -> Step:
    return Step(Wanted(ref, body), action, "", body, live)


CHANGED = step(SECRET, Action.CHANGE, secret("bmV3"), secret("b2xk"))
SAME = step(WEB, Action.KEEP, web(), web())
RENAMED = step(WEB, Action.CHANGE, {**web(), "metadata": {"name": "web", "labels": {}}}, web())
NOTE = (
    "Secret credentials changes, but its readers are not restarted: Deployment web. "
    "To restart them: kubectl -n default rollout restart deployment/web"
)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([CHANGED, SAME], [NOTE]),
        ([CHANGED, RENAMED], [NOTE]),
        ([step(SECRET, Action.CREATE, secret("bmV3"), None), SAME], [NOTE]),
        ([CHANGED, step(WEB, Action.CHANGE, web("app:2"), web())], []),
        ([CHANGED, step(WEB, Action.CREATE, web(), None)], []),
        ([CHANGED, step(WEB, Action.KEEP, web(reads="other"), web(reads="other"))], []),
        ([step(SECRET, Action.CHANGE, secret("b2xk"), secret("b2xk")), SAME], []),
        ([step(SECRET, Action.KEEP, secret("b2xk"), secret("b2xk")), SAME], []),
    ],
    ids=[
        "it is unchanged", "only its labels change", "the Secret is new", "it restarts anyway", "it is new",
        "it reads another", "only the Secret's labels change", "the Secret is unchanged",
    ],
)  # fmt: skip
def test_readers_that_are_not_restarted_are_named_with_the_command(
    steps: list[Step], told: list[str]
) -> None:
    planned = Planned((("all", tuple(steps)),), {}, {one.ref: one.body for one in steps})
    assert readers.not_restarted(planned.steps, planned.results) == told


def test_pods_restart_with_what_they_read_where_that_is_marked() -> None:
    def template(value: str, reads: str = "credentials") -> Any:
        objects = [Wanted(SECRET, secret(value)), Wanted(WEB, web(reads=reads))]
        return readers.marked(objects)[1].body["spec"]["template"]

    assert template("b2xk") != template("bmV3")
    assert template("b2xk") == template("b2xk")
    assert template("b2xk")["metadata"]["labels"] == {"app": "web"}
    assert template("b2xk", reads="of-others") == web(reads="of-others")["spec"]["template"]
