import pytest

from tasks.lib.cluster.refusal import api_error, lasts


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ('leases "x" is forbidden: User "me" cannot create resource "leases"', "Ask an owner"),
        ("Your client does not have permission", "Ask an owner"),
        ('pods "x" is forbidden: exceeded quota: small, requested: cpu=1', "A rule of the cluster"),
        ('admission webhook "guard" denied the request: no', "A rule of the cluster"),
        ("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "A rule of the cluster"),
        (
            "unable to create new content in namespace x because it is being terminated",
            "The namespace is being deleted",
        ),
    ],
    ids=["no role", "the proxy before it", "quota", "webhook", "policy", "a namespace that goes"],
)
def test_a_403_names_the_way_out_that_goes_with_its_words(message: str, step: str) -> None:
    assert api_error("apply it", 403, message.encode()).next_step.startswith(step)


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2160766 vs. 2097152)",
    ],
    ids=["etcd", "before etcd"],
)
def test_an_object_that_etcd_does_not_take_is_not_sent_again(message: str) -> None:
    assert lasts(message)
    assert "split it" in api_error("apply it", 500, message.encode()).next_step


def test_a_server_that_ends_is_asked_again() -> None:
    assert not lasts("etcdserver: leader changed")
