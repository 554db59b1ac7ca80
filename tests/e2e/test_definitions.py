"""Kinds that a deploy brings or changes itself, through the sandbox's real API server."""

from typing import Any

import pytest

from tests.e2e.test_deploy import COMMIT_A, COMMIT_B, deploy
from tests.e2e.test_rollback import definition
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def defined(group: str, *fields: str) -> dict[str, Any]:
    """The definition of Widgets that have these fields and no others."""
    spec = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
    whole = definition(group)
    whole["spec"]["versions"][0]["schema"] = {
        "openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}
    }
    return whole


def widget(group: str, **fields: str) -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": fields}


def test_a_definition_and_an_object_that_uses_its_new_field_go_in_together(environment: Case) -> None:
    group = f"{environment.name}.example.org"
    environment.add(defined(group, "old"))
    environment.add(widget(group, old="a"))
    first = deploy(environment, commit=COMMIT_A)
    assert first.returncode == 0, first.stderr
    environment.add(defined(group, "old", "new"))
    environment.add(widget(group, old="a", new="b"))

    second = deploy(environment, commit=COMMIT_B)

    shown = environment.kubectl("get", f"widgets.{group}", "-o", "jsonpath={.items[0].spec}")
    environment.kubectl("delete", "customresourcedefinition", f"widgets.{group}")
    assert second.returncode == 0, second.stderr
    assert shown == '{"new":"b","old":"a"}'
