"""What was activated lately in a bucket, of all apps together: an activation writes an app's page anew."""

import re
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime

from msgspec import Struct

from tasks.lib.ember import listing
from tasks.lib.ember.access import Access
from tasks.lib.ember.activation import page_of
from tasks.lib.ember.entry import INDEX
from tasks.lib.ember.http import Pool
from tasks.lib.ember.objects import Item
from tasks.lib.settings.ember import Ember


class Activated(Struct, frozen=True):
    """An app whose page was written: which revision it is, empty where another tool wrote it, and when."""

    app: str
    revision: str
    at: datetime


def since(access: Access, ember: Ember, moment: datetime) -> list[Activated]:
    """The apps below ember.prefix whose page was written after `moment`, the newest first.

    Raises:
        Failure: the bucket cannot be listed.

    """
    folder = f"{ember.prefix.strip('/')}/"
    with closing(Pool(access, 1)) as pool:
        return chosen(pool.ask(listing.matching(access, folder, f"{folder}*/{INDEX}")), folder, moment)


def chosen(items: Iterable[Item], folder: str, moment: datetime) -> list[Activated]:
    """The pages among objects that were written after `moment`, the newest first."""
    page = re.compile(rf"{re.escape(folder)}([^/]+)/{re.escape(INDEX)}")
    found = [
        Activated(match[1], page_of(item).name, datetime.fromisoformat(item.time_created))
        for item in items
        if (match := page.fullmatch(item.name))
    ]
    return sorted((one for one in found if one.at > moment), key=lambda one: one.at, reverse=True)
