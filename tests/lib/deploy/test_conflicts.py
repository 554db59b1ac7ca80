import shlex

import pytest

from tasks.lib.deploy.conflicts import Conflict, bare, options
from tasks.lib.deploy.objects import Ref
from tasks.lib.errors import UsageError

IMAGE = Conflict(
    Ref("apps/v1", "Deployment", "default", "web"),
    '.spec.template.spec.containers[name="uwsgi"].image',
    "kubectl-set",
)


def test_the_way_out_survives_a_shell() -> None:
    assert shlex.split(options([IMAGE])) == ["--force-conflicts", IMAGE.named]


@pytest.mark.parametrize(
    "typed",
    [
        'Deployment/web:.spec.template.spec.containers[name="uwsgi"].image',
        "Deployment/web:.spec.template.spec.containers[name=uwsgi].image",
        'Deployment/web:spec.template.spec.containers[name="uwsgi"].image',
    ],
    ids=["as it is told", "without the quotes that a shell took", "without the first dot"],
)
def test_a_field_is_recognised_however_it_is_typed(typed: str) -> None:
    assert bare(typed) == bare(IMAGE.named)


@pytest.mark.parametrize("typed", ["Deployment/web", "Deployment/web:", "Deployment/web:.", "web", "", "a:b"])
def test_whole_objects_are_not_taken_over(typed: str) -> None:
    with pytest.raises(UsageError, match="names no field"):
        bare(typed)
