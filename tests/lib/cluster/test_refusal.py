import pytest

from tasks.lib.cluster.refusal import api_error


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
