import json

import pytest

from tasks.lib.cluster import identity
from tasks.lib.cluster.refusal import ApiError
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.cluster.scripted import Answer, Scripted, status

STAGING = checked_in_settings().environment("staging")


def test_the_mark_of_another_environment_stops_the_deploy(server: Scripted) -> None:
    other = {
        "environment": "production",
        "project": "mit-lookit",
        "location": "us-east1-d",
        "cluster": "lookit-production",
    }
    server.answers = [Answer(body=json.dumps({"data": other}).encode())]

    with pytest.raises(Failure) as caught:
        identity.check(server.api(), STAGING)

    assert str(caught.value) == (
        "This is not the cluster that was meant: nothing was changed.\n"
        "  why:  expected environment staging, project mit-lookit, location us-east1-d, cluster lookit-staging\n"
        "        found    environment production, project mit-lookit, location us-east1-d, cluster lookit-production\n"
        "        ConfigMap default/lookit-orchestrator says so.\n"
        "  next: Check its project, zone, cluster and namespace: ./inv settings --environment staging"
    )


def test_an_empty_mark_is_another_mark() -> None:
    with pytest.raises(Failure, match="not the cluster that was meant") as caught:
        identity.compare(STAGING, {})
    assert "found    an empty mark" in caught.value.why


def test_its_own_mark_lets_a_deploy_pass(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps(identity.mark(STAGING)).encode())]
    assert identity.check(server.api(), STAGING) is True


def test_a_cluster_without_a_mark_is_a_new_one(server: Scripted) -> None:
    server.answers = [status(404, "NotFound", "no such thing")]
    assert identity.check(server.api(), STAGING) is False


def test_a_mark_that_may_not_be_read_stops_the_deploy(server: Scripted) -> None:
    server.answers = [status(403, "Forbidden", "no")]
    with pytest.raises(ApiError):
        identity.check(server.api(), STAGING)


def test_the_mark_names_environment_and_cluster(server: Scripted) -> None:
    server.answers = [Answer()]
    identity.write(server.api(), STAGING)
    assert json.loads(server.asked[0].body)["data"] == {
        "environment": "staging",
        "project": "mit-lookit",
        "location": "us-east1-d",
        "cluster": "lookit-staging",
    }
