from typing import Any

from tasks.lib.deploy.takeover import patch

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
