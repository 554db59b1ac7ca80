"""Which apps were activated lately."""

from datetime import UTC, datetime, timedelta

from tasks.lib.ember import activated
from tasks.lib.ember.access import Access
from tasks.lib.ember.objects import Item
from tests.builders import checked_in_settings
from tests.lib.ember.stored import put

EMBER = checked_in_settings().ember


def page(name: str, created: str, history: str = "") -> Item:
    metadata = {"lookit-history": history} if history else {}
    return Item(name=name, generation="1", metadata=metadata, time_created=created)


def test_only_pages_of_apps_that_are_new_count() -> None:
    items = [
        page("experiments/a/index.html", "2026-05-04T10:00:00Z", "0123456789ab,ba9876543210"),
        page("experiments/b/index.html", "2026-05-04T11:00:00Z"),
        page("experiments/c/index.html", "2026-05-01T11:00:00Z", "0123456789ab"),
        page("experiments/a/revisions/0123456789ab/index.html", "2026-05-04T10:00:00Z"),
        page("experiments/a/assets/index.html", "2026-05-04T10:00:00Z"),
    ]

    found = activated.chosen(items, "experiments/", datetime(2026, 5, 3, tzinfo=UTC))

    assert [(one.app, one.revision) for one in found] == [("b", ""), ("a", "0123456789ab")]


def test_the_bucket_is_asked_for_pages(access: Access) -> None:
    put(access, "experiments/a/index.html", b"page")
    put(access, "experiments/a/assets/app.js", b"script")
    put(access, "elsewhere/a/index.html", b"page")
    now = datetime.now(UTC)

    assert [one.app for one in activated.since(access, EMBER, now - timedelta(hours=1))] == ["a"]
    assert activated.since(access, EMBER, now + timedelta(hours=1)) == []
