from typing import Any

from tasks.lib.deploy.takeover import foreseen, patch

BEFORE = ("kubectl-client-side-apply",)


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    return {
        "manager": manager, "operation": operation, "apiVersion": "v1", "time": "then", "fieldsType": "FieldsV1",
        "fieldsV1": fields, **more,
    }  # fmt: skip


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "metadata": {"resourceVersion": "7", "managedFields": list(entries)}}


def test_what_kubectl_recorded_becomes_ours_and_others_keep_theirs() -> None:
    controller = entry("controller", {"f:status": {}})
    theirs = entry("kubectl-client-side-apply", {"f:data": {"f:a": {}, ".": {}}})
    ours = entry("lookit-orchestrator", {"f:data": {"f:b": {}}}, "Apply")

    assert patch(live(controller, theirs, ours), BEFORE) == [
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [
                controller,
                entry("lookit-orchestrator", {"f:data": {"f:b": {}, "f:a": {}, ".": {}}}, "Apply"),
            ],
        },
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]


def test_an_object_that_kubectl_never_wrote_is_left_alone() -> None:
    assert patch(live(entry("controller", {"f:data": {}})), BEFORE) == []
    assert patch({"apiVersion": "v1", "metadata": {}}, BEFORE) == []


def test_records_of_status_or_of_an_older_version_stay() -> None:
    status = entry("kubectl-client-side-apply", {"f:status": {}}, subresource="status")
    older = entry("kubectl-client-side-apply", {"f:data": {}}, apiVersion="v1beta1")
    assert patch(live(status, older), BEFORE) == []


PORT = 'k:{"port":9419,"protocol":"TCP"}'
LIVE: dict[str, Any] = {
    "apiVersion": "v1",
    "metadata": {"resourceVersion": "7", "annotations": {"old": "x", "ours": "x", "shared": "x"}},
    "spec": {
        "ports": [{"port": 5672, "protocol": "TCP"}, {"port": 9419, "protocol": "TCP", "targetPort": 9419}]
    },
}
FIELDS = {
    "f:metadata": {"f:annotations": {".": {}, "f:old": {}, "f:ours": {}, "f:shared": {}, "f:gone": {}}},
    "f:spec": {"f:ports": {".": {}, PORT: {".": {}, "f:port": {}, "f:targetPort": {}}}},
}
BODY = {"metadata": {"annotations": {"ours": "x"}}, "spec": {"ports": [{"port": 5672}]}}


def with_records(*entries: dict[str, Any]) -> dict[str, Any]:
    return {**LIVE, "metadata": {**LIVE["metadata"], "managedFields": list(entries)}}


def test_what_taking_over_removes_is_foreseen() -> None:
    shared = entry("somebody", {"f:metadata": {"f:annotations": {"f:shared": {}}}})
    there = with_records(entry("kubectl-client-side-apply", FIELDS), shared)

    after = foreseen(there, BEFORE, BODY, LIVE)

    assert after["metadata"]["annotations"] == {"ours": "x", "shared": "x"}
    assert after["spec"]["ports"] == [{"port": 5672, "protocol": "TCP"}]
    assert len(LIVE["spec"]["ports"]) == 2


def test_where_there_is_nothing_to_take_over_the_dry_run_stands() -> None:
    there = with_records(entry("somebody", FIELDS))
    assert foreseen(there, BEFORE, BODY, LIVE) is LIVE
