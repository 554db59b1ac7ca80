from typing import Any

import pytest

from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan import foretold
from tasks.lib.deploy.plan.decide import Action, Step

NOTE = {"lookit-orchestrator/applied": "digest"}


def body(kind: str = "ConfigMap", metadata: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    named = {"name": "conf", "namespace": "staging", "annotations": NOTE, **(metadata or {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": named, **members}


def entry(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "manager": "lookit-orchestrator", "operation": "Apply", "apiVersion": "v1", "time": "then",
        "fieldsType": "FieldsV1", "fieldsV1": fields, **more,
    }  # fmt: skip


OWNED = {
    "f:data": {"f:a": {}, "f:b": {}},
    "f:metadata": {
        "f:annotations": {"f:lookit-orchestrator/applied": {}, "f:old": {}},
        "f:labels": {"f:app": {}},
    },
}


def live(kind: str = "ConfigMap", **changes: Any) -> dict[str, Any]:
    """An object of ours, with other values for the members of `changes`; those of metadata are merged."""
    metadata = {
        "name": "conf", "namespace": "staging", "uid": "u", "resourceVersion": "7", "labels": {"app": "web"},
        "annotations": {**NOTE, "old": "x"}, "managedFields": [entry(OWNED)], **changes.pop("metadata", {}),
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": "", "b": ""}, **changes}


def step(wanted: dict[str, Any], there: dict[str, Any] | None, action: Action = Action.CHANGE) -> Step:
    ref = Ref(wanted["apiVersion"], wanted["kind"], "staging", "conf")
    return Step(Wanted(ref, wanted), action, "", wanted, there)


def test_afterwards_an_object_holds_what_is_applied() -> None:
    changed = body(metadata={"labels": {"app": "worker", "new": ""}}, data={"b": "2", "c": "3"})
    there = live(metadata={"finalizers": ["kept"]})

    assert foretold.result(step(changed, there)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "conf",
            "namespace": "staging",
            "uid": "u",
            "resourceVersion": "7",
            "finalizers": ["kept"],
            "managedFields": [entry(OWNED)],
            "labels": {"app": "worker", "new": ""},
            "annotations": NOTE,
        },
        "data": {"b": "2", "c": "3"},
    }


def test_maps_without_content_are_left_out() -> None:
    result = foretold.result(step(body(metadata={"labels": {}}, data={}), live()))

    assert result
    assert "data" not in result
    assert "labels" not in result["metadata"]


def test_an_object_that_is_made_is_what_is_sent() -> None:
    new = body("Secret", data={"a": "YQ=="}, type="Opaque")

    assert foretold.result(step(new, None, Action.CREATE)) == new


@pytest.mark.parametrize(
    "action", [Action.KEEP, Action.RECREATE, Action.RUN, Action.DELETE, Action.AWAIT, Action.SKIP]
)
def test_nothing_is_told_of_other_actions(action: Action) -> None:
    assert foretold.result(step(body(data={"a": "1"}), live(), action)) is None


@pytest.mark.parametrize(
    "wanted",
    [
        body("Service", spec={}),
        {**body(data={}), "apiVersion": "v2"},
        body(data={"a": 7}),
        body(data={"a": None}),
        body(data=None),
        body(data={"..": ""}),
        body(data={"a": "half a \ud83d"}),
        body(data={"a": ""}, binaryData={"a": "YQ=="}),
        body(binaryData={"a": "no base64"}),
        body(data={"a": "x" * 1024 * 1024}),
        body(dta={}),
        body(immutable=False),
        body(metadata={"labels": {"a": "two words"}}),
        body(metadata={"labels": None}),
        body(metadata={"annotations": {"two words": ""}}),
        body(metadata={"annotations": {"a": 7}}),
        body(metadata={"finalizers": []}),
        body(metadata={"creationTimestamp": None}),
        body(metadata={"name": "Conf"}),
        body("Secret", stringData={"a": "b"}),
        body("Secret", binaryData={"a": "YQ=="}),
        body("Secret", data={"a": "plain"}),
        body("Secret", data={"a": "YQ=="}, type="kubernetes.io/tls"),
        body("ConfigMap", type="Opaque"),
    ],
    ids=[
        "another kind", "another version", "a number", "a null", "null for a map", "a key that is none",
        "half a character", "a key twice", "no base64", "too large", "an unknown member", "immutable",
        "a label that is none", "null for labels", "an annotation that is none", "an annotation of a number",
        "finalizers", "a time", "a name that is none", "text to encode", "binaryData of a Secret",
        "a Secret's plain value", "a Secret of a type", "a type of a ConfigMap",
    ],
)  # fmt: skip
@pytest.mark.parametrize("action", [Action.CHANGE, Action.CREATE])
def test_what_is_not_plain_is_left_to_the_server(wanted: dict[str, Any], action: Action) -> None:
    there = live(wanted["kind"]) if action is Action.CHANGE else None

    assert foretold.result(step(wanted, there, action)) is None


@pytest.mark.parametrize(
    "there",
    [
        live(metadata={"managedFields": [entry(OWNED), entry({}, manager="somebody")]}),
        live(metadata={"managedFields": [entry(OWNED, manager="kubectl-client-side-apply")]}),
        live(metadata={"managedFields": [entry(OWNED, operation="Update")]}),
        live(metadata={"managedFields": [entry(OWNED, apiVersion="v1beta1")]}),
        live(metadata={"managedFields": [entry(OWNED, subresource="status")]}),
        live(metadata={"managedFields": []}),
        live(metadata={"managedFields": None}),
        live(data={"a": "", "theirs": ""}),
        live(binaryData={"theirs": "YQ=="}),
        live(metadata={"labels": {"app": "web", "theirs": ""}}),
        live(metadata={"annotations": {**NOTE, "theirs": ""}}),
        live(metadata={"deletionTimestamp": "now"}),
        live(immutable=True),
        live(immutable=False),
    ],
    ids=[
        "somebody else's part", "a predecessor's", "ours by an update", "another version", "a part of it",
        "no records", "none at all", "a value that nobody applied", "binary data that nobody applied",
        "a label that nobody applied", "an annotation that nobody applied", "being deleted", "immutable",
        "immutable or not",
    ],
)  # fmt: skip
def test_what_is_not_ours_alone_is_left_to_the_server(there: dict[str, Any]) -> None:
    assert foretold.result(step(body(data={"a": "1"}), there)) is None


def test_a_secret_of_another_type_is_left_to_the_server() -> None:
    assert foretold.result(step(body("Secret", data={}), live("Secret", type="kubernetes.io/tls"))) is None
    assert foretold.result(step(body("Secret", data={}), live("Secret", type="Opaque")))


def test_what_is_missing_that_was_applied_comes_back() -> None:
    result = foretold.result(step(body(data={"a": "1", "b": "2"}), live(data={"b": "2"})))

    assert result
    assert result["data"] == {"a": "1", "b": "2"}
