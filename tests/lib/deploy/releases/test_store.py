import base64
import os

import pytest

from tasks.lib.deploy.releases import store


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("length", "count"), [(0, 1), (10, 1), (960 * 1024, 1), (960 * 1024 + 1, 2), (3_000_000, 4)]
)
def test_content_comes_back_whole_from_its_parts(length: int, count: int) -> None:
    packed = encoded(os.urandom(length))
    made = store.manifests(7, {"result": "deployed"}, packed, "default")
    head, *others = made

    assert len(made) == count
    assert head["metadata"]["name"] == "lookit-orchestrator-release-7"
    assert head["data"] == {"result": "deployed"}
    assert all("data" not in one for one in others)
    assert store.content(head, others) == (packed, count)


def test_a_small_release_is_one_config_map_with_a_label() -> None:
    (kept,) = store.manifests(7, {}, encoded(b"x"), "default")
    assert kept["metadata"] == {
        "name": "lookit-orchestrator-release-7",
        "namespace": "default",
        "labels": {"lookit-orchestrator/release": "7"},
    }


def test_a_release_with_a_part_missing_is_not_whole() -> None:
    head, *others = store.manifests(7, {}, encoded(os.urandom(3_000_000)), "default")
    assert store.content(head, others[1:]) == ("", 4)


def test_a_release_that_somebody_emptied_is_not_whole() -> None:
    (head,) = store.manifests(7, {}, encoded(b"x"), "default")
    del head["binaryData"]
    assert store.content(head, []) == ("", 1)


@pytest.mark.parametrize(
    ("name", "labels", "counts"),
    [
        ("lookit-orchestrator-release-7", {"release": "7"}, True),
        ("lookit-orchestrator-release-7-part-2", {"release": "7", "part": "2"}, True),
        ("copy-of-release-7", {"release": "7"}, False),
        ("lookit-orchestrator-release-7", {"release": "8"}, False),
        ("lookit-orchestrator-release-x", {"release": "x"}, False),
    ],
    ids=["the first part", "another part", "a copy", "renumbered", "no number"],
)
def test_copies_that_people_make_are_no_releases(name: str, labels: dict[str, str], counts: bool) -> None:
    spelled = {f"lookit-orchestrator/{key}": value for key, value in labels.items()}
    assert store.is_release({"metadata": {"name": name, "labels": spelled}}) is counts


@pytest.mark.parametrize("count", ["", "x", "-1", "1.5"])
def test_a_release_with_a_wrong_part_count_is_removed_completely(
    count: str,
) -> None:
    head, *others = store.manifests(7, {}, encoded(b"x" * (store.BYTES_OF_A_PART + 1)), "default")
    head["metadata"]["annotations"][store.PARTS] = count

    assert store.content(head, others) == ("", 2)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 100])
def test_the_size_of_content_is_that_of_its_bytes(length: int) -> None:
    assert 0 <= store.size(encoded(b"x" * length)) - length <= 2


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("sizes", "good", "gone"),
    [
        ([1, 1], 0, []),
        ([1] * 22, 0, [20, 21]),
        ([1] * 22, 21, [20]),
        ([6 * MIB] * 4, 0, [2, 3]),
        ([6 * MIB] * 4, 3, [2]),
        ([20 * MIB], 0, []),
    ],
    ids=[
        "few",
        "beyond twenty",
        "the good one stays",
        "too large together",
        "the good one stays too",
        "the newest",
    ],
)
def test_what_is_beyond_the_bound(sizes: list[int], good: int, gone: list[int]) -> None:
    assert store.beyond(sizes, good) == gone
