"""What a push decides from what the registry has."""

import pytest

from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.image.push import Plan, Remote, decide, final, refused
from tasks.lib.image.reference import parse

COMMIT = "c" * 40
MAIN = parse(f"r.example/lookit:{COMMIT}")
TAG = MAIN.tagged("v1")
BRANCH = MAIN.tagged("develop")
FREE = Remote()
SAME = Remote("sha256:m1", "sha256:local", COMMIT)
REBUILT = Remote("sha256:m2", "sha256:other", COMMIT)
FOREIGN = Remote("sha256:m3", "sha256:third", "d" * 40)


@pytest.mark.parametrize(
    ("remote", "reuse", "expected"),
    [
        pytest.param({MAIN: FREE, BRANCH: FREE}, False, Plan([MAIN], [BRANCH]), id="nothing there"),
        pytest.param({MAIN: FREE, TAG: FREE, BRANCH: FOREIGN}, False, Plan([MAIN], [TAG, BRANCH]), id="branch moves"),
        pytest.param({MAIN: SAME, BRANCH: SAME}, False, Plan([], [], "sha256:m1"), id="all there"),
        pytest.param({MAIN: SAME, TAG: FREE}, False, Plan([], [TAG], "sha256:m1"), id="only a tag is missing"),
        pytest.param({MAIN: SAME, BRANCH: FOREIGN}, False, Plan([], [BRANCH], "sha256:m1"), id="only the branch is behind"),
        pytest.param({MAIN: REBUILT, BRANCH: FREE}, True, Plan([], [BRANCH], "sha256:m2"), id="another build is reused"),
    ],
)  # fmt: skip
def test_only_what_is_missing_is_pushed(remote: dict[object, Remote], reuse: bool, expected: Plan) -> None:
    fixed = [name for name in (MAIN, TAG) if name in remote]

    assert decide("sha256:local", COMMIT, remote, fixed, reuse=reuse) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("remote", "reuse"),
    [
        pytest.param({MAIN: REBUILT}, False, id="another build of the commit, not asked to reuse it"),
        pytest.param({MAIN: FOREIGN}, True, id="the build of another commit is never reused"),
        pytest.param({MAIN: FREE, TAG: FOREIGN}, False, id="the release tag is taken"),
        pytest.param({MAIN: SAME, TAG: FOREIGN}, False, id="the release tag is taken, the commit is there"),
    ],
)
def test_release_tags_never_change_their_content(remote: dict[object, Remote], reuse: bool) -> None:
    fixed = [name for name in (MAIN, TAG) if name in remote]

    with pytest.raises(UsageError, match="Release tags never change") as raised:
        decide("sha256:local", COMMIT, remote, fixed, reuse=reuse)  # type: ignore[arg-type]

    taken = next(held for held in remote.values() if held.image_id not in {"", "sha256:local"})
    assert taken.digest in raised.value.why
    assert taken.commit in raised.value.why
    assert "--reuse" in raised.value.next_step


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("denied: requested access to the resource is denied", True),
        ("unauthorized: authentication required", True),
        ("received unexpected HTTP status: 503 Service Unavailable", False),
        ("net/http: TLS handshake timeout", False),
        ("cannot update tag v1. The repository has enabled tag immutability", True),
        ('error parsing HTTP 405 response body: invalid character: "Method not allowed"', True),
        ("received unexpected HTTP status: 413 Request Entity Too Large", True),
        ("received unexpected HTTP status: 429 Too Many Requests", False),
        ("error parsing HTTP 408 response body: Request Timeout", False),
    ],
)
def test_a_push_is_tried_again_only_where_that_can_help(words: str, expected: bool) -> None:
    assert final(words) is expected


def test_a_refused_push_says_which_right_is_missing() -> None:
    failure = refused(MAIN, Failure("docker push failed", "denied"))

    assert failure.what == f"{MAIN} could not be pushed."
    assert failure.why == "denied"
    assert "roles/artifactregistry.writer" in failure.next_step


def test_immutable_tags_and_quotas_have_their_own_next_steps() -> None:
    immutable = refused(MAIN, Failure("docker push failed", "the repository has enabled tag immutability"))
    slow = refused(MAIN, TimedOut("`docker push` did not finish.", "", "raise time_limits.image_push"))

    assert "choose another tag" in immutable.next_step
    assert slow.next_step == "raise time_limits.image_push"
    assert slow.exit_code == TimedOut.exit_code
