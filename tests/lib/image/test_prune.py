"""Which images stay, and how a promotion is named."""

from dataclasses import replace

import pytest

from tasks.lib import console
from tasks.lib.errors import UsageError
from tasks.lib.image.inventory import Held, rows
from tasks.lib.image.promote import named as named_target
from tasks.lib.image.promote import promote
from tasks.lib.image.prune import check_number, confirmed, delete, judge, saved
from tasks.lib.image.reference import parse
from tests.builders import checked_in_settings

DIGEST = "sha256:" + "1" * 64


def image(name: str, *tags: str) -> Held:
    return Held(f"sha256:{name}", list(tags), "2024-05-06T07:08:09Z", "c" * 40, 123_000_000)


NEWEST, MIDDLE, OLD, OLDEST = image("4", "d"), image("3", "c"), image("2", "b", "v1"), image("1", "a")


@pytest.mark.parametrize(
    ("keep", "used", "kept"),
    [
        pytest.param(2, set(), [True, True, False, False], id="the newest stay"),
        pytest.param(1, {"v1"}, [True, False, True, False], id="what is used by any of its tags stays"),
        pytest.param(1, {"sha256:1"}, [True, False, False, True], id="what is used by digest stays"),
        pytest.param(0, {"elsewhere"}, [False] * 4, id="nothing need stay"),
        pytest.param(9, set(), [True] * 4, id="there are fewer than may stay"),
    ],
)
def test_images_stay_that_are_new_or_in_use(keep: int, used: set[str], kept: list[bool]) -> None:
    fates = judge([NEWEST, MIDDLE, OLD, OLDEST], keep, used)

    assert [fate.kept for fate in fates] == kept


def test_images_with_parts_in_use_are_kept() -> None:
    index = Held(f"sha256:{'a' * 64}", ["all"], "2024-01-03T00:00:00Z", "", 1, [DIGEST])
    part = Held(DIGEST, ["arm64"], "2024-01-02T00:00:00Z", "", 1)
    of_index = Held("sha256:5", [f"sha256-{'a' * 64}.sig"], "2024-01-01T00:00:00Z", "", 1)
    of_part = Held("sha256:6", [f"sha256-{'1' * 64}"], "2024-01-01T00:00:00Z", "", 1)
    of_another = Held("sha256:7", [f"sha256-{'2' * 64}.sig"], "2024-01-01T00:00:00Z", "", 1)

    fates = judge([index, part, of_index, of_part, of_another], 0, {DIGEST})

    assert [fate.reason for fate in fates] == [
        "in use", "in use", f"attached to {index.digest}", f"attached to {DIGEST}", "older, and not in use",
    ]  # fmt: skip


@pytest.mark.parametrize("created", ["", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1980-01-01"])
def test_an_image_without_a_date_is_not_the_oldest(created: str) -> None:
    undated = Held("sha256:9", ["u"], created, "", 1)

    fates = judge([NEWEST, OLD, undated], 1, set())

    assert [fate.reason for fate in fates] == [
        "among the newest 1",
        "older, and not in use",
        "of unknown age",
    ]


def test_only_confirmed_images_are_deleted() -> None:
    before = [NEWEST, MIDDLE, OLD, OLDEST]
    moved = Held(OLDEST.digest, ["a", "live"], OLDEST.created, OLDEST.commit, OLDEST.size)
    pushed = Held("sha256:5", ["e"], "2024-06-06T00:00:00Z", "", 1)

    shown = judge(before, 1, set())
    fates = confirmed(shown, [pushed, NEWEST, MIDDLE, OLD, moved], 1, {"v1"})

    assert [fate.reason for fate in fates] == [
        "among the newest 1", "not as it was shown", "older, and not in use", "in use", "not as it was shown",
    ]  # fmt: skip
    assert [fate.image for fate in saved(shown, fates)] == [OLD, moved]


def test_parts_of_a_changed_index_are_kept() -> None:
    part = image("1", "arm64")
    index = Held("sha256:2", ["all"], part.created, "", 1, [part.digest])
    shown = judge([index, part], 0, set())

    fates = confirmed(shown, [replace(index, tags=["all", "live"]), part], 0, set())

    assert [fate.kept for fate in fates] == [True, True]


def test_a_negative_number_of_images_is_refused() -> None:
    check_number(0)
    with pytest.raises(UsageError, match="--keep must be 0 or more"):
        check_number(-1)


def test_each_image_says_why_it_stays_or_goes() -> None:
    assert [fate.reason for fate in judge([NEWEST, MIDDLE, OLD], 1, {"b"})] == [
        "among the newest 1", "older, and not in use", "in use",
    ]  # fmt: skip


def test_a_row_is_for_people() -> None:
    assert rows([OLD]) == [["b, v1", "2024-05-06 07:08", "ccccccc", "123 MB", "2"]]


@pytest.mark.parametrize(
    ("asked", "to", "tag", "source", "target"),
    [
        ("abc", "r.example/b", "", "r.example/a:abc", "r.example/b:abc"),
        ("abc", "r.example/a", "live", "r.example/a:abc", "r.example/a:live"),
        (DIGEST, "r.example/b", "live", f"r.example/a@{DIGEST}", "r.example/b:live"),
    ],
)
def test_a_promotion_names_source_and_target(asked: str, to: str, tag: str, source: str, target: str) -> None:
    assert tuple(map(str, named_target("r.example/a", asked, to, tag))) == (source, target)


@pytest.mark.parametrize(
    ("asked", "fault"), [("", "No image was named"), (DIGEST, "A digest has no tag to keep")]
)
def test_a_promotion_needs_a_tag(asked: str, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        named_target("r.example/a", asked, "r.example/b", "")


def test_the_sandbox_neither_promotes_nor_deletes_elsewhere() -> None:
    closed, image = checked_in_settings(registry={"elsewhere": False}), parse("a.example/x:1")

    with pytest.raises(UsageError, match="with --sandbox nothing leaves this machine"):
        promote(closed, image, parse("a.example/x:2"))
    with pytest.raises(UsageError, match="with --sandbox nothing leaves this machine"):
        delete(closed, image, [])


def test_a_promotion_stays_within_one_registry() -> None:
    with pytest.raises(UsageError, match="are two registries"):
        promote(checked_in_settings(), parse("a.example/x:1"), parse("b.example/x:1"))


def test_what_an_image_says_of_itself_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = Held(DIGEST, ["v1"], "[/b]", "[/c]abc", 1)

    console.table(("tags", "created", "commit", "size", "digest"), rows([odd]))

    assert "[/b]" in capsys.readouterr().err
