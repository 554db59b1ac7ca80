"""Each refusal of a registry, with its own next step."""

from io import BytesIO

import pytest
import requests

from tasks.lib.image import refusals
from tasks.lib.image.reference import parse

IMAGE = parse("r.example/a:v1")
LIST = "./inv images.list --repository r.example/a"
AMAZON = b"tag invalid: The image tag 'v1' cannot be overwritten because the repository is immutable."


def answer(status: int, body: bytes = b"", retry_after: str = "") -> requests.Response:
    made = requests.Response()
    made.status_code, made.raw, made.reason = status, BytesIO(body), "Reason"
    made.headers["Retry-After"] = retry_after
    return made


@pytest.mark.parametrize(
    ("method", "refusal", "step"),
    [
        ("GET", answer(429), "again later, or raise time_limits.registry"),
        ("GET", answer(429, retry_after="120"), "again in 120 s, as it asks"),
        ("GET", answer(500), "for all of time_limits.registry"),
        ("PUT", answer(400, AMAZON), f"choose another tag, or see what this one holds: {LIST}"),
        ("PUT", answer(412, b"configured as Immutable"), LIST),
        ("DELETE", answer(405), "REGISTRY_STORAGE_DELETE_ENABLED=true"),
        ("DELETE", answer(400, b'{"errors": [{"code": "UNSUPPORTED"}]}'), "allow deletion"),
        ("DELETE", answer(403), "roles/artifactregistry.repoAdmin on r.example/a"),
        ("PUT", answer(403), "docker login r.example"),
    ],
)
def test_each_refusal_has_its_own_next_step(method: str, refusal: requests.Response, step: str) -> None:
    failure = refusals.failed(method, refusal, IMAGE)

    assert failure.what == f"{method} of r.example/a:v1 was refused."
    assert f"answered {refusal.status_code} Reason" in failure.why
    assert step in failure.next_step


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "check this machine's clock too"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'r'",
            "-connect r:5 ",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "registry.ca_file"),
    ],
)
def test_each_problem_of_a_certificate_has_its_own_next_step(words: str, step: str) -> None:
    assert step in refusals.when_unreachable("https://r:5", words)
    assert refusals.is_lasting(words)
