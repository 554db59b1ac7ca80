"""An app's place in a bucket: where its files lie, and how it is reached.

<prefix>/index.html, <prefix>/…              what visitors load
<prefix>/assets/app-<hash>.js                a fingerprinted file: shared by revisions, written once
<prefix>/revisions/<revision>.json           a revision's manifest: the files that it consists of
<prefix>/revisions/<revision>/…              its own copies of what has no fingerprint
<prefix>/revisions/pruning-<number>.json     what a pruning that has not ended is about to remove
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

from tasks.lib.ember.access import Access
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.headers import Rules
from tasks.lib.ember.http import Pool
from tasks.lib.ember.names import REVISIONS, checked_prefix
from tasks.lib.ember.plan import Named
from tasks.lib.errors import UsageError
from tasks.lib.settings.ember import Ember

OF_A_REVISION = re.compile(rf"{REVISIONS}([0-9a-f]{{12}})/.")
MANIFEST = re.compile(rf"{REVISIONS}([0-9a-f]{{12}})\.json")
PRUNING = re.compile(rf"{REVISIONS}pruning-[0-9a-f]+\.json")


@dataclass(frozen=True)
class Place:
    """Where one app lies; its prefix ends in a slash."""

    access: Access
    pool: Pool
    prefix: str
    ember: Ember

    @property
    def index(self) -> str:
        """The page."""
        return self.prefix + INDEX

    @property
    def url(self) -> str:
        """Where everybody can read the page, as the bucket serves it."""
        return self.access.public_url(self.index)

    @property
    def revisions(self) -> str:
        """The folder of all that belongs to revisions alone."""
        return self.prefix + REVISIONS

    def live(self, entry: Entry) -> str:
        """Where visitors find a file."""
        return self.prefix + entry.path

    def kept(self, revision: str) -> Named:
        """Where a revision keeps each of its files."""
        folder = f"{self.revisions}{revision}/"
        return lambda entry: self.live(entry) if entry.shared else folder + entry.path

    def manifest(self, revision: str) -> str:
        """The object that lists a revision's files."""
        return f"{self.revisions}{revision}.json"

    @property
    def served_at(self) -> str:
        """The path at which the site serves the app; empty where the settings do not say."""
        name = self.prefix.removeprefix(f"{self.ember.prefix.strip('/')}/").strip("/")
        return self.ember.served_at.replace("{name}", name)

    @cached_property
    def rules(self) -> Rules:
        """The settings' rules for headers and fingerprints."""
        return Rules(self.ember.headers, self.ember.fingerprints)

    def is_shared(self, path: str) -> bool:
        """Whether a file's name carries its content's hash, so that revisions share it."""
        return self.rules.is_fingerprinted(path)

    def path(self, name: str) -> str:
        """An object's name below the prefix."""
        return name.removeprefix(self.prefix)


@contextmanager
def opened(access: Access, ember: Ember, prefix: str) -> Iterator[Place]:
    """An app's place, with connections as long as the block lasts.

    Raises:
        UsageError: the prefix cannot be used.

    """
    prefix = checked_prefix(prefix)
    if f"{ember.prefix.strip('/')}/".startswith(prefix):
        raise UsageError(
            f"The prefix {prefix} cannot be used.",
            "Apps lie below it (ember.prefix), so it is none of an app's own.",
            f"Give it as {ember.prefix.strip('/')}/<uuid>.",
        )
    with closing(Pool(access, ember.connections)) as pool:
        yield Place(access, pool, prefix, ember)
