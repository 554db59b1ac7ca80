"""Names of images, taken apart and put together."""

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.image.reference import Reference, parse, tag_for

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "gcr.io/mit-lookit/lookit:abc", Reference("gcr.io", "mit-lookit/lookit", "abc"), id="tag"
        ),
        pytest.param("gcr.io/mit-lookit/lookit", Reference("gcr.io", "mit-lookit/lookit"), id="repository"),
        pytest.param(f"r.example/a/b@{DIGEST}", Reference("r.example", "a/b", "", DIGEST), id="digest"),
        pytest.param(
            f"r.example/a:t@{DIGEST}", Reference("r.example", "a", "t", DIGEST), id="tag and digest"
        ),
        pytest.param("127.0.0.1:5000/lookit:1", Reference("127.0.0.1:5000", "lookit", "1"), id="port"),
        pytest.param("a:65535/lookit:1", Reference("a:65535", "lookit", "1"), id="highest port"),
        pytest.param("[::1]:5000/lookit:1", Reference("[::1]:5000", "lookit", "1"), id="IPv6"),
        pytest.param("localhost/lookit:1", Reference("localhost", "lookit", "1"), id="localhost"),
        pytest.param("postgres:15", Reference("docker.io", "library/postgres", "15"), id="Docker Hub's own"),
        pytest.param("bitnami/rabbitmq", Reference("docker.io", "bitnami/rabbitmq"), id="Docker Hub's user"),
    ],
)
def test_a_name_is_taken_apart(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gcr.io/Upper",
        "a b",
        "gcr.io/x:",
        "gcr.io/x:-a",
        "gcr.io/x@sha256:12",
        "gcr.io/x@",
        "a:b/x",
        "a:/x",
        "localhost:65536/x",
        "my host:5000/x",
        "a..b:5000/x",
        ".:80/x",
        "a.:80/x",
        "[::1:80/x",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of an image"):
        parse(text)


def test_an_image_of_the_repository_has_tag_or_digest() -> None:
    image = parse("gcr.io/mit-lookit/lookit:abc")

    assert str(image.at(DIGEST)) == f"gcr.io/mit-lookit/lookit@{DIGEST}"
    assert str(image.at(DIGEST).tagged("v1")) == "gcr.io/mit-lookit/lookit:v1"


def test_a_name_is_put_together_as_it_was() -> None:
    for text in (
        "gcr.io/mit-lookit/lookit:abc",
        f"127.0.0.1:5000/lookit@{DIGEST}",
        f"r.example/a:t@{DIGEST}",
    ):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("branch", "tag"),
    [("develop", "develop"), ("feature/a b", "feature-a-b"), (".hidden", "hidden"), ("x" * 200, "x" * 128)],
)
def test_a_branch_becomes_a_tag(branch: str, tag: str) -> None:
    assert tag_for(branch) == tag
