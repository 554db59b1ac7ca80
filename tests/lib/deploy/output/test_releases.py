import json

from tasks.lib.deploy.history import Release, pack
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output.releases import difference_lines, release_lines, status_lines, structured
from tasks.lib.deploy.releases.drift import Drifted
from tasks.lib.deploy.releases.review import Difference, Status
from tasks.lib.deploy.steps import Change

WEB = Ref("apps/v1", "Deployment", "default", "web")
FACTS = {
    "result": "deployed", "commit": "abcdef0123", "tag": "1.0", "who": "me@here (1)", "began": "then",
    "seconds": "61", "phases": '{"jobs": 12.0}', "images": '["lookit@sha256:abc"]',
    "secrets": '[{"name": "env", "namespace": "default", "keys": ["A", "B"]}]',
}  # fmt: skip
PAST = Release(7, FACTS, pack([Wanted(WEB, {"kind": "Deployment", "metadata": {"name": "web"}})]))


def test_a_release_is_told_in_words() -> None:
    assert release_lines(PAST) == [
        "release 7",
        "  result: deployed",
        "  commit: abcdef0123",
        "  tag: 1.0",
        "  who: me@here (1)",
        "  began: then",
        "  took: 1 min 01 s",
        "    jobs: 12 s",
        "  images:",
        "    lookit@sha256:abc",
        "  objects: 2",
        "    Deployment web",
        "    Secret env (keys: A, B)",
    ]


def test_a_release_whose_objects_are_not_kept_says_so() -> None:
    kept = Release(7, {**FACTS, "not_kept": "They are too large."}, "")
    assert release_lines(kept)[-1] == "  objects: not kept. They are too large."


def test_facts_that_are_json_are_structured() -> None:
    told = structured(PAST)
    assert (told["number"], told["phases"], told["images"]) == (7, {"jobs": 12.0}, ["lookit@sha256:abc"])
    assert json.dumps(told)


def test_differences_are_told_in_lines() -> None:
    found = [Difference("Deployment", "web", "changed", (Change("spec.replicas", "1", "2"),))]
    assert difference_lines(PAST, PAST, found) == [
        "release 7 → 7, commit abcdef0 → abcdef0",
        "  ~ Deployment web",
        "      ~ spec.replicas: 1 → 2",
        "1 objects differ.",
    ]
    assert difference_lines(PAST, PAST, [])[-1] == "Their objects are the same."


def test_a_status_is_told_in_lines() -> None:
    drifted = (
        Drifted(WEB, "changed", (Change("spec.replicas", "1", "2"),), ("kubectl-edit",)),
        Drifted(Ref("v1", "Service", "default", "web"), "missing"),
    )
    assert status_lines("staging", Status(PAST, drifted)) == [
        "staging: release 7, commit abcdef0, tag 1.0: deployed, then, by me@here",
        "  ~ Deployment web: changed, by kubectl-edit",
        "      ~ spec.replicas: 1 → 2",
        "  - Service web: missing",
        "2 objects have drifted from that release.",
    ]
    assert status_lines("staging", Status(PAST, ()))[-1] == "No drift."
