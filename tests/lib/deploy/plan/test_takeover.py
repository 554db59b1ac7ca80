import json
from typing import Any

import pytest

from tasks.lib.deploy.plan.takeover import is_due, preview_patch, take_over_patch, with_first_entries

BEFORE = ("kubectl-client-side-apply",)


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    return {
        "manager": manager, "operation": operation, "apiVersion": "v1", "time": "then", "fieldsType": "FieldsV1",
        "fieldsV1": fields, **more,
    }  # fmt: skip


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "metadata": {"resourceVersion": "7", "managedFields": list(entries)}}


def test_kubectls_fields_become_ours_and_others_keep_theirs() -> None:
    controller = entry("controller", {"f:status": {}})
    theirs = entry("kubectl-client-side-apply", {"f:data": {"f:a": {}, ".": {}}})
    ours = entry("lookit-orchestrator", {"f:data": {"f:b": {}}}, "Apply")

    assert take_over_patch(live(controller, theirs, ours), BEFORE) == [
        {
            "op": "add",
            "path": "/metadata/managedFields",
            "value": [
                controller,
                entry("lookit-orchestrator", {"f:data": {"f:b": {}, "f:a": {}, ".": {}}}, "Apply"),
            ],
        },
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]


def test_an_object_without_kubectls_fields_is_not_patched() -> None:
    assert take_over_patch(live(entry("controller", {"f:data": {}})), BEFORE) == []
    assert take_over_patch({"apiVersion": "v1", "metadata": {}}, BEFORE) == []


def test_records_of_status_or_of_an_older_version_stay() -> None:
    status = entry("kubectl-client-side-apply", {"f:status": {}}, subresource="status")
    older = entry("kubectl-client-side-apply", {"f:data": {}}, apiVersion="v1beta1")
    assert take_over_patch(live(status, older), BEFORE) == []


PORT = 'k:{"port":9419,"protocol":"TCP"}'
RESULT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"resourceVersion": "7", "annotations": {"old": "x", "ours": "x", "shared": "x"}},
    "spec": {
        "ports": [{"port": 5672, "protocol": "TCP"}, {"port": 9419, "protocol": "TCP", "targetPort": 9419}],
        "type": "ClusterIP",
    },
    "status": {"loadBalancer": {}},
}
FIELDS = {
    "f:metadata": {"f:annotations": {".": {}, "f:old": {}, "f:ours": {}, "f:shared": {}, "f:gone": {}}},
    "f:spec": {"f:ports": {".": {}, PORT: {".": {}, "f:port": {}, "f:targetPort": {}}}},
}
OURS = entry(
    "lookit-orchestrator",
    {"f:metadata": {"f:annotations": {"f:ours": {}}}, "f:spec": {"f:ports": {".": {}}}},
    "Apply",
)
SHARED = entry("somebody", {"f:metadata": {"f:annotations": {"f:shared": {}}}})


def with_entries(thing: dict[str, Any], *entries: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata = thing["metadata"]
    noted = {**metadata["annotations"], **annotations}
    return {**thing, "metadata": {**metadata, "annotations": noted, "managedFields": list(entries)}}


def test_the_preview_removes_fields_that_nobody_else_owns() -> None:
    theirs = entry("kubectl-client-side-apply", FIELDS)

    patched = preview_patch(
        with_entries(RESULT, theirs, SHARED), BEFORE, with_entries(RESULT, theirs, SHARED, OURS)
    )

    assert {one["path"]: one["value"] for one in patched} == {
        "/spec": {"ports": [{"port": 5672, "protocol": "TCP"}], "type": "ClusterIP"},
        "/metadata/labels": None,
        "/metadata/annotations": {"ours": "x", "shared": "x"},
    }
    assert len(RESULT["spec"]["ports"]) == 2


COPY = "kubectl.kubernetes.io/last-applied-configuration"
APPLIED = {"kind": "Service", "metadata": {"annotations": {"old": "x"}}, "spec": {"ports": [{"port": 9419}]}}
# As the server records an object that had no records: all that it holds, its own defaults too.
UNRECORDED = entry(
    "before-first-apply",
    {
        "f:metadata": {"f:annotations": {".": {}, "f:old": {}, "f:shared": {}, f"f:{COPY}": {}}},
        "f:spec": {"f:type": {}, "f:ports": {".": {}, PORT: {".": {}, "f:port": {}, "f:targetPort": {}}}},
    },
)
THEN = ("kubectl-client-side-apply", "before-first-apply")


def test_unrecorded_fields_are_taken_over_by_kubectls_copy() -> None:
    aged = with_entries(RESULT, **{COPY: json.dumps(APPLIED)})
    assert is_due(aged, THEN)

    known = with_first_entries(aged, with_entries(RESULT, UNRECORDED, OURS))

    [[taken], _] = [one["value"] for one in take_over_patch(known, THEN)]
    assert taken["manager"] == "lookit-orchestrator"
    assert taken["fieldsV1"] == {
        "f:metadata": {"f:annotations": {".": {}, "f:old": {}, f"f:{COPY}": {}}},
        "f:spec": {"f:ports": {".": {}, PORT: {".": {}, "f:port": {}}}},
    }


@pytest.mark.parametrize(
    "copy",
    [{}, {COPY: ""}, {COPY: "no JSON"}, {COPY: "[]"}, {COPY: '{"metadata": 1}'}],
    ids=["none", "empty", "broken", "no object", "another object"],
)
def test_without_kubectls_copy_nothing_is_removed(
    copy: dict[str, str],
) -> None:
    assert take_over_patch(with_entries(RESULT, UNRECORDED, **copy), THEN) == []


def test_an_odd_last_applied_copy_claims_common_fields_only() -> None:
    applied = {**APPLIED, "spec": {"ports": ["9419"], "type": {"of": "old"}}}
    aged = with_entries(RESULT, UNRECORDED, **{COPY: json.dumps(applied)})

    [[taken], _] = [one["value"] for one in take_over_patch(aged, THEN)]

    assert taken["fieldsV1"]["f:spec"] == {"f:ports": {".": {}}, "f:type": {}}


def test_stringdata_keys_count_as_applied_by_kubectl() -> None:
    applied = {"kind": "Secret", "metadata": {}, "stringData": {"a": "x"}}
    made = entry("before-first-apply", {"f:data": {".": {}, "f:a": {}, "f:of-others": {}}})
    aged = with_entries({**RESULT, "kind": "Secret"}, made, **{COPY: json.dumps(applied)})

    [[taken], _] = [one["value"] for one in take_over_patch(aged, THEN)]

    assert taken["fieldsV1"]["f:data"] == {".": {}, "f:a": {}}


def test_existing_managed_fields_are_kept() -> None:
    there = with_entries(RESULT, SHARED, **{COPY: json.dumps(APPLIED)})
    assert with_first_entries(there, with_entries(RESULT, UNRECORDED)) is there
    assert not is_due(there, THEN)
    assert not is_due(None, THEN)
