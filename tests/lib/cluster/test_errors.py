import pytest

from tasks.lib.cluster.errors import Unreachable, api_error, is_permanent


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ('leases "x" is forbidden: User "me" cannot create resource "leases"', "Ask an owner"),
        (
            'pods is forbidden: User "104312345678901234567" cannot list resource "pods"',
            "The token lacks the scope",
        ),
        ("Your client does not have permission", "Ask an owner"),
        ('pods "x" is forbidden: exceeded quota: small, requested: cpu=1', "A rule of the cluster"),
        ('admission webhook "guard" denied the request: no', "A rule of the cluster"),
        ("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "A rule of the cluster"),
        (
            "unable to create new content in namespace x because it is being terminated",
            "The namespace is being deleted",
        ),
    ],
    ids=[
        "no role",
        "an account known by its number",
        "the proxy before it",
        "quota",
        "webhook",
        "policy",
        "a namespace that goes",
    ],
)
def test_a_403_names_the_fix_that_fits_its_message(message: str, step: str) -> None:
    assert api_error("apply it", 403, message.encode()).next_step.startswith(step)


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2160766 vs. 2097152)",
    ],
    ids=["etcd", "before etcd"],
)
def test_an_object_too_large_for_etcd_is_not_sent_again(message: str) -> None:
    assert is_permanent(message)
    assert "split it" in api_error("apply it", 500, message.encode()).next_step


@pytest.mark.parametrize("code", [500, 504])
def test_a_silent_webhook_is_named(code: int) -> None:
    said = (
        'Internal error occurred: failed calling webhook "validate.nginx.ingress.kubernetes.io": failed to call '
        'webhook: Post "https://x.svc:443/y?timeout=10s": context deadline exceeded'
    )
    next_step = api_error("apply it", code, said.encode()).next_step

    assert next_step.startswith("The webhook validate.nginx.ingress.kubernetes.io does not answer")
    assert "mutatingwebhookconfigurations" in next_step
    assert not is_permanent(said)


@pytest.mark.parametrize(
    ("why", "first"),
    [
        ("The read operation timed out", "It received the request"),
        ("Read timed out. (read timeout=15.0)", "It received the request"),
        ("Connection to 10.0.0.1 timed out. (connect timeout=15.0)", "Check the network"),
        ("[Errno 111] Connection refused", "Check the network"),
    ],
    ids=["within TLS", "of a pool", "no connection", "nobody there"],
)
def test_an_unanswered_request_may_wait_for_a_webhook(why: str, first: str) -> None:
    told = Unreachable("https://10.0.0.1", why)
    next_step = told.next_step

    how = "could not be reached" if first == "Check the network" else "did not answer"
    assert told.what == f"The cluster's API server https://10.0.0.1 {how}."
    assert next_step.startswith(first)
    assert ("webhook" in next_step) == (first != "Check the network")
    assert "network" in next_step


def test_a_stopping_server_is_asked_again() -> None:
    assert not is_permanent("etcdserver: leader changed")
