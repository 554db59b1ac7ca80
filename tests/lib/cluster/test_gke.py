import base64
import json
from typing import Any

import pytest
import requests

from tasks.lib import retry
from tasks.lib.cluster import gke
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.cluster.errors import ApiError
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.clock import Clock
from tests.lib.cluster.scripted import Answer, Scripted, status

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
PEM = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(retry, "time", clock)
    return clock


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "name": "lookit-staging",
        "location": "us-east1-d",
        "status": "RUNNING",
        "endpoint": "10.1.2.3",
        "masterAuth": {"clusterCaCertificate": base64.b64encode(PEM.encode()).decode()},
        **changes,
    }


def dns(allowed: bool) -> dict[str, Any]:
    return {"dnsEndpointConfig": {"endpoint": "gke-1.us-east1.gke.goog", "allowExternalTraffic": allowed}}


@pytest.mark.parametrize(
    ("changes", "endpoint"),
    [
        ({}, Endpoint("https://10.1.2.3", PEM)),
        ({"endpoint": "127.0.0.1:6443"}, Endpoint("https://127.0.0.1:6443", PEM)),
        ({"controlPlaneEndpointsConfig": dns(True)}, Endpoint("https://gke-1.us-east1.gke.goog")),
        ({"controlPlaneEndpointsConfig": dns(False)}, Endpoint("https://10.1.2.3", PEM)),
        ({"controlPlaneEndpointsConfig": {}}, Endpoint("https://10.1.2.3", PEM)),
        ({"status": "RECONCILING"}, Endpoint("https://10.1.2.3", PEM)),
        ({"location": None, "zone": "us-east1-d"}, Endpoint("https://10.1.2.3", PEM)),
    ],
    ids=[
        "address",
        "with port",
        "DNS name",
        "DNS name for insiders",
        "empty section",
        "being upgraded",
        "old field",
    ],
)
def test_the_dns_endpoint_is_used_where_external_traffic_is_allowed(
    changes: dict[str, Any], endpoint: Endpoint
) -> None:
    found = gke.read(STAGING, answer(**changes))
    assert found == gke.Found("mit-lookit", "us-east1-d", "lookit-staging", endpoint)


@pytest.mark.parametrize(
    ("changes", "what", "why"),
    [
        (
            {"name": "lookit-production"},
            "This is not the expected cluster; nothing was changed.",
            "expected lookit-staging in us-east1-d\nfound    lookit-production in us-east1-d\nsource:  the GKE API",
        ),
        (
            {"location": "europe-west1-b"},
            "This is not the expected cluster; nothing was changed.",
            "expected lookit-staging in us-east1-d\nfound    lookit-staging in europe-west1-b\nsource:  the GKE API",
        ),
        (
            {"status": "STOPPING", "statusMessage": "going away"},
            "Cluster lookit-staging is STOPPING: it cannot be deployed to.",
            "going away",
        ),
        (
            {"endpoint": "", "masterAuth": {}},
            "GKE's answer about cluster lookit-staging has no usable endpoint.",
            "endpoint: none; certificate authority: none; DNS endpoint: none.",
        ),
        (
            {"masterAuth": {"clusterCaCertificate": "%%%"}, "controlPlaneEndpointsConfig": dns(False)},
            "GKE's answer about cluster lookit-staging has no usable endpoint.",
            "endpoint: 10.1.2.3; certificate authority: none; DNS endpoint: no external traffic.",
        ),
    ],
)
def test_an_unusable_answer_stops_the_deploy(changes: dict[str, Any], what: str, why: str) -> None:
    with pytest.raises(Failure) as caught:
        gke.read(STAGING, answer(**changes))
    assert (caught.value.what, caught.value.why) == (what, why)


@pytest.mark.parametrize(
    ("status", "what", "next_step"),
    [
        (401, "GKE does not accept the credentials.", "gcloud auth application-default login"),
        (
            403,
            "Missing permission to read cluster lookit-staging.",
            "gcloud projects add-iam-policy-binding mit-lookit --role roles/container.developer --member …",
        ),
        (
            404,
            "There is no cluster projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging.",
            "gcloud container clusters list --project mit-lookit",
        ),
        (
            503,
            "GKE answered 503 when asked for projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging.",
            "Run the same command again in a minute.",
        ),
    ],
)
def test_a_refusal_says_what_to_do(
    server: Scripted, clock: Clock, status: int, what: str, next_step: str
) -> None:
    server.answers = [Answer(status, b'{"error": {"message": "in its words"}}')]

    with pytest.raises(Failure) as caught:
        gke.find(_settings(server), STAGING, _session(server))

    assert (caught.value.what, caught.value.why, caught.value.next_step) == (what, "in its words", next_step)
    assert (len(server.asked) > 1) == (sum(clock.slept) > 20) == (status == 503)


@pytest.mark.parametrize(
    "first", [Answer(408), Answer(429), Answer(503), Answer(0)], ids=["408", "429", "503", "cut"]
)
def test_a_temporary_error_is_tried_again(server: Scripted, clock: Clock, first: Answer) -> None:
    server.answers = [first, Answer(body=json.dumps(answer()).encode())]

    assert gke.find(_settings(server), STAGING, _session(server)).name == "lookit-staging"
    assert len(server.asked) == 2


def test_google_may_say_how_long_to_wait(server: Scripted, clock: Clock) -> None:
    server.answers = [Answer(429, headers={"Retry-After": "7"}), Answer(body=json.dumps(answer()).encode())]

    gke.find(_settings(server), STAGING, _session(server))

    assert 7 < clock.slept[0] < 8


def test_a_page_of_a_proxy_is_refused(server: Scripted) -> None:
    server.answers = [Answer(200, b"<html>Log in</html>")]

    with pytest.raises(Failure, match="The GKE API did not answer; something else did"):
        gke.find(_settings(server), STAGING, _session(server))


def test_the_cluster_is_asked_for_by_its_full_name(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps(answer()).encode())]

    found = gke.find(_settings(server), STAGING, _session(server))

    assert found.endpoint == Endpoint("https://10.1.2.3", PEM)
    assert server.asked[0].path == "/v1/projects/mit-lookit/locations/us-east1-d/clusters/lookit-staging"


def test_an_error_that_is_not_json_is_quoted(server: Scripted, clock: Clock) -> None:
    server.answers = [Answer(502, b"<html>bad gateway</html>")]
    with pytest.raises(Failure) as caught:
        gke.find(_settings(server), STAGING, _session(server))
    assert caught.value.why == "<html>bad gateway</html>"


def test_an_unreachable_gke_api_is_named(clock: Clock) -> None:
    settings = checked_in_settings(google={"container": "https://127.0.0.1:9"})
    with pytest.raises(Failure, match=r"The GKE API https://127.0.0.1:9 could not be reached"):
        gke.find(settings, STAGING, requests.Session())


@pytest.mark.parametrize(
    ("answered", "until"),
    [
        (Answer(body=b'{"endOfStandardSupportTimestamp": "2027-01-31T00:00:00Z"}'), "2027-01-31"),
        (Answer(body=b'{"endOfStandardSupportTimestamp": "2027-01-31"}'), "2027-01-31"),
        (Answer(body=b'{"endOfStandardSupportTimestamp": "soon"}'), ""),
        (Answer(body=b"{}"), ""),
        (Answer(400, b'{"error": {"message": "zonal"}}'), ""),
    ],
    ids=["time", "day", "something else", "nothing", "not served"],
)
def test_end_of_support_is_known_where_gke_says_it(server: Scripted, answered: Answer, until: str) -> None:
    server.answers = [answered]

    found = gke.end_of_support(_settings(server), STAGING, _session(server))

    assert (f"{found:%Y-%m-%d}" if found else "") == until
    assert server.asked[0].path.endswith("/clusters/lookit-staging:fetchClusterUpgradeInfo")


def _settings(server: Scripted) -> Any:
    return checked_in_settings(google={"container": server.endpoint.server})


def _session(server: Scripted) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = False
    return session


def test_the_mark_of_another_environment_stops_the_deploy(server: Scripted) -> None:
    other = {
        "environment": "production",
        "project": "mit-lookit",
        "location": "us-east1-d",
        "cluster": "lookit-production",
    }
    server.answers = [Answer(body=json.dumps({"data": other}).encode())]

    with pytest.raises(Failure) as caught:
        gke.check_mark(server.api(), STAGING)

    assert str(caught.value) == (
        "This is not the expected cluster; nothing was changed.\n"
        "  why:  expected environment staging, project mit-lookit, location us-east1-d, cluster lookit-staging\n"
        "        found    environment production, project mit-lookit, location us-east1-d, cluster lookit-production\n"
        "        source:  ConfigMap default/lookit-orchestrator\n"
        "  next: Check its project, zone, cluster and namespace: ./inv settings --environment staging"
    )


def test_an_empty_mark_does_not_match() -> None:
    with pytest.raises(Failure, match="not the expected cluster") as caught:
        gke.compare_mark(STAGING, {})
    assert "found    an empty mark" in caught.value.why


def test_a_matching_mark_passes(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps(gke.mark(STAGING)).encode())]
    assert gke.check_mark(server.api(), STAGING) is True


def test_a_cluster_without_a_mark_is_a_new_one(server: Scripted) -> None:
    server.answers = [status(404, "NotFound", "no such thing")]
    assert gke.check_mark(server.api(), STAGING) is False


def test_an_unreadable_mark_stops_the_deploy(server: Scripted) -> None:
    server.answers = [status(403, "Forbidden", "no")]
    with pytest.raises(ApiError):
        gke.check_mark(server.api(), STAGING)


def test_the_mark_names_environment_and_cluster(server: Scripted) -> None:
    server.answers = [Answer()]
    gke.write_mark(server.api(), STAGING)
    assert json.loads(server.asked[0].body)["data"] == {
        "environment": "staging",
        "project": "mit-lookit",
        "location": "us-east1-d",
        "cluster": "lookit-staging",
    }


@pytest.mark.parametrize(
    ("changes", "versions"),
    [
        ({}, ()),
        ({"currentNodeVersion": "1.35.1-gke.2"}, ("1.35.1-gke.2",)),
        ({"currentNodeVersion": "2 versions", "nodePools": [{"version": "1.35"}, {"version": "1.34"}, {"version": "1.35"}]},
         ("1.34", "1.35")),
    ],
    ids=["unknown", "one", "during an upgrade"],
)  # fmt: skip
def test_the_versions_of_nodes_are_known(changes: dict[str, Any], versions: tuple[str, ...]) -> None:
    assert gke.read(STAGING, answer(**changes)).node_versions == versions
