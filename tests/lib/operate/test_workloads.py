"""Which workloads are meant by the names that people type."""

from typing import Any

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.operate.workloads import chosen
from tests.builders import checked_in_settings

STAGING = checked_in_settings().environment("staging")
APP = "gcr.io/mit-lookit/lookit"


def workload(name: str, *images: str) -> dict[str, Any]:
    containers = [{"image": image} for image in images]
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": containers}}}}


THERE = [
    workload("staging-web", f"{APP}:{'a' * 40}@sha256:{'b' * 64}"),
    workload("staging-builder", "docker:27", f"{APP}:1.0"),
    workload("staging-rabbitmq", "rabbitmq:3.8"),
    workload("extra", f"{APP}-docs:1"),
]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["web"], ["staging-web"]),
        (["staging-web", "web"], ["staging-web"]),
        (["rabbitmq", "extra"], ["staging-rabbitmq", "extra"]),
        ([], ["staging-web", "staging-builder"]),
    ],
    ids=["without prefix", "named twice", "two", "none: those of the app"],
)
def test_names_choose_workloads(names: list[str], found: list[str]) -> None:
    assert [one["metadata"]["name"] for one in chosen(THERE, names, STAGING, APP)] == found


@pytest.mark.parametrize(
    ("names", "what", "next_step"),
    [
        (["webb"], "There is no workload 'webb' in staging.", "Did you mean web?"),
        (["nothing"], "There is no workload 'nothing' in staging.", "./inv status shows them."),
    ],
)
def test_an_unknown_name_is_wrong_usage(names: list[str], what: str, next_step: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(THERE, names, STAGING, APP)

    assert (refused.value.what, refused.value.next_step) == (what, next_step)
    assert refused.value.why == "There are: builder, extra, rabbitmq, web."


def test_no_workload_of_the_app_is_said() -> None:
    with pytest.raises(UsageError, match="No workload of staging runs"):
        chosen(THERE[2:3], [], STAGING, APP)
