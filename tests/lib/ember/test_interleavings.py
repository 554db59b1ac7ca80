"""Whatever comes between whose requests: no page is served whose fingerprinted files are gone."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from google.auth.credentials import AnonymousCredentials
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tasks.lib.ember import overview, pruning, upload
from tasks.lib.ember.access import Access
from tasks.lib.ember.archive.inventory import Inventory, inspect
from tasks.lib.ember.archive.source import Archive, open_archive
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.ember.place import Place
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options
from tasks.lib.errors import Failure
from tasks.lib.google.credentials import Tokens
from tasks.lib.settings.ember import Ember, Limits
from tests.builders import checked_in_settings
from tests.lib.ember import archives
from tests.lib.ember.interleavings import (
    Bucket,
    Operation,
    Running,
    State,
    done,
    repeated_texts,
    states,
    walk,
)

EMBER = checked_in_settings().ember
PREFIX = "x/"
INDEX = f"{PREFIX}index.html"
SERVED = re.compile(rb"version (\d)")


def named(stem: str, data: bytes) -> str:
    return f"{stem}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}.js"


def files(version: str) -> dict[str, bytes]:
    """An app: a fingerprinted file of its own, one that all versions share, and one without a fingerprint."""
    own, shared = version.encode(), b"shared"
    page = f"<script src={named('app', own)}></script>version {version}".encode()
    return {"index.html": page, named("app", own): own, named("all", shared): shared, "robots.txt": own}


class Seen(NamedTuple):
    """What is wrong with a bucket, as `App` finds it."""

    broken: list[str]
    incomplete: list[str]
    mixed: bool


class App:
    """Operations on one app."""

    def __init__(self, folder: Path) -> None:
        # Each operation is one, and is run once for each way that it is answered, whichever walk meets it.
        self._operations: dict[tuple[object, ...], Operation] = {}
        self._running: dict[tuple[Operation, str], Running] = {}
        self._seen: dict[Bucket, Seen] = {}
        tokens = Tokens(AnonymousCredentials())
        self._access = Access("http://storage.invalid", "bucket", tokens, 1.0, 1.0, "", Checkpoints(folder))
        self._archives = {
            version: archives.saved(folder, archives.zipped(files(version)), f"{version}.zip")
            for version in "123"
        }
        self.names = {
            version: self.done(Bucket(), self.store(version)).points[0].outcome.revision  # type: ignore[attr-defined]
            for version in "123"
        }

    def upload(self, version: str, activate: bool = True) -> Operation:
        options, source = Options(activate=activate), self._archives[version]
        return self._at(
            ("upload", version, activate), lambda place: upload.bring(place, source, options, Progress())
        )

    def store(self, version: str) -> Operation:
        return self.upload(version, activate=False)

    def activate(self, version: str) -> Operation:
        return self._at(
            ("activate", version), lambda place: overview.activate_chosen(place, self.names[version])
        )

    def roll_back(self, _version: str = "") -> Operation:
        return self._at(("roll back",), overview.roll_back)

    def prune(self, _version: str = "") -> Operation:
        return self._at(("prune",), lambda place: pruning.prune(place, 0, 0, dry_run=False))

    def _at(self, key: tuple[object, ...], does: Callable[[Place], object]) -> Operation:
        return self._operations.setdefault(key, lambda pool: does(Place(self._access, pool, PREFIX, EMBER)))

    def running(self, operation: Operation, name: str) -> Running:
        if (operation, name) not in self._running:
            self._running[operation, name] = Running(operation, name)
        return self._running[operation, name]

    def kill(self) -> None:
        for running in self._running.values():
            running.kill()

    def done(self, bucket: Bucket, *operations: Operation) -> State:
        for number, operation in enumerate(operations):
            state = done(bucket, self.running(operation, f"before{number}-"))
            assert not isinstance(state.outcomes[0], Failure), state.outcomes[0]
            bucket = state.bucket
        return state

    def tried(self, bucket: Bucket, operation: Operation) -> State:
        return done(bucket, self.running(operation, "alone"))

    def states(self, bucket: Bucket, *operations: Operation) -> Iterator[State]:
        return states(bucket, [self.running(one, f"op{number}-") for number, one in enumerate(operations)])

    def walk(self, bucket: Bucket, choices: Iterable[int], *operations: Operation) -> Iterator[State]:
        """One of the ways through `states`."""
        running = [self.running(one, f"op{number}-") for number, one in enumerate(operations)]
        return walk(bucket, running, choices)

    def seen(self, bucket: Bucket) -> Seen:
        """What is wrong with a bucket; each is looked at once."""
        if bucket not in self._seen:
            self._seen[bucket] = Seen(self.broken(bucket), self.incomplete(bucket), self.mixed(bucket))
        return self._seen[bucket]

    def served(self, bucket: Bucket) -> str:
        """The version that visitors are served."""
        match = SERVED.search(bucket.content(INDEX) or b"")
        return match[1].decode() if match else ""

    def broken(self, bucket: Bucket) -> list[str]:
        """The fingerprinted files that visitors look for in vain."""
        wanted = files(self.served(bucket)) if self.served(bucket) else {}
        return [p for p, data in wanted.items() if "-" in p and bucket.content(PREFIX + p) != data]

    def mixed(self, bucket: Bucket) -> bool:
        """Whether a file without a fingerprint is of another version than the page."""
        version = self.served(bucket)
        return bool(version) and bucket.content(f"{PREFIX}robots.txt") != version.encode()

    def incomplete(self, bucket: Bucket) -> list[str]:
        """What the revisions that have a manifest lack."""
        lacking = []
        for version, name in self.names.items():
            folder = f"{PREFIX}revisions/{name}"
            for path, data in files(version).items() if f"{folder}.json" in bucket.objects else ():
                where = PREFIX + path if "-" in path else f"{folder}/{path}"
                lacking += [where] if bucket.content(where) != data else []
        return lacking


def read_once(patch: pytest.MonkeyPatch) -> None:
    """Have each archive read and judged once, however often an operation is run again."""
    opened_before: dict[str, Archive] = {}
    found: dict[Archive, Inventory] = {}

    def opened(source: str, limits: Limits) -> Archive:
        if source not in opened_before:
            opened_before[source] = open_archive(source, limits)
            patch.setattr(opened_before[source], "close", lambda: None)
        return opened_before[source]

    def inspected(archive: Archive, prefix: str, ember: Ember) -> Inventory:
        if archive not in found:
            found[archive] = inspect(archive, prefix, ember)
        return replace(found[archive], kept=dict(found[archive].kept))  # an upload takes out what it sends

    patch.setattr(upload, "open_archive", opened)
    patch.setattr(upload, "inspect", inspected)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setattr(pruning, "LEAST_AGE", timedelta(0))
    repeated_texts(monkeypatch)
    read_once(monkeypatch)
    found = App(tmp_path)
    yield found
    found.kill()


def killed(app: App, bucket: Bucket, operation: Operation, wanted: Callable[[Bucket], bool]) -> Bucket:
    """The bucket where an operation was ended once it looked as is wanted."""
    return next(state.bucket for state in app.states(bucket, operation) if wanted(state.bucket))


def started(app: App, name: str) -> Bucket:
    """A bucket in which a pruning has something to do."""

    def three() -> Bucket:
        return app.done(Bucket(), *(app.upload(version) for version in "123")).bucket

    def uploading(bucket: Bucket) -> bool:
        return f"{PREFIX}{named('app', b'1')}" in bucket.objects

    def pruning_announced(bucket: Bucket) -> bool:
        return any("/pruning-" in one for one in bucket.objects)

    def manifest_removed(bucket: Bucket) -> bool:
        return f"{PREFIX}revisions/{app.names['1']}.json" not in bucket.objects

    made: dict[str, Callable[[], Bucket]] = {
        "active before": three,
        "an upload was killed": lambda: killed(
            app, app.done(Bucket(), app.upload("3")).bucket, app.store("1"), uploading
        ),
        "a pruning was killed": lambda: killed(app, three(), app.prune(), pruning_announced),
        "a manifest was removed": lambda: killed(app, three(), app.prune(), manifest_removed),
        "an activation was killed": lambda: killed(app, three(), app.activate("1"), app.mixed),
        "nothing": Bucket,
        "no page": lambda: app.done(Bucket(), app.store("1")).bucket,
        "a page in place": lambda: app.done(Bucket(), app.store("2")).bucket.put(INDEX, b"<head>in place"),
    }
    return made[name]()


def expect_found(app: App, state: State) -> None:
    """No visitor looks for a fingerprinted file in vain; where all went well, no revision lacks a file."""
    seen = app.seen(state.bucket)
    assert seen.broken == [], state.outcomes
    if all(state.outcomes) and not any(isinstance(one, Failure) for one in state.outcomes):
        assert seen.incomplete == [], state.outcomes


def expect_sound(app: App, state: State) -> None:
    """The same, and in the end what has no fingerprint is of one version with the page."""
    expect_found(app, state)
    if all(state.outcomes):
        assert not app.seen(state.bucket).mixed, state.outcomes


STARTS = [
    "active before", "an upload was killed", "a pruning was killed", "a manifest was removed",
    "an activation was killed", "nothing", "no page", "a page in place",
]  # fmt: skip
# They need no service, but up to minutes each on a busy machine: all states are visited.
SLOW = (pytest.mark.e2e, pytest.mark.timeout(900))
PAIRS = [
    ("prune", "upload"), ("prune", "store"), ("prune", "activate"), ("prune", "roll_back"), ("prune", "prune"),
    ("upload", "upload"), ("upload", "activate"), ("upload", "roll_back"), ("activate", "activate"),
    ("activate", "roll_back"),
]  # fmt: skip
QUICK = [
    ("an upload was killed", "prune", "activate"), ("no page", "activate", "activate"),
    ("an activation was killed", "store", "activate"),
]  # fmt: skip
# Where nothing is, an upload takes nothing for granted; others find nothing to do until it has begun.
AT_A_NEW_PLACE = [
    ("nothing", "prune", "upload"),
    ("nothing", "prune", "store"),
    ("nothing", "upload", "upload"),
]
# What a killed operation left is met by those that it can harm; every pair is met where all is as it should be.
AFTER_A_KILL = [
    ("an upload was killed", "prune", "upload"), ("an upload was killed", "prune", "activate"),
    ("an upload was killed", "prune", "prune"), ("a pruning was killed", "prune", "store"),
    ("a pruning was killed", "prune", "activate"), ("a pruning was killed", "prune", "roll_back"),
    ("a manifest was removed", "prune", "activate"), ("a manifest was removed", "prune", "roll_back"),
    ("an activation was killed", "prune", "activate"), ("an activation was killed", "prune", "prune"),
    ("an activation was killed", "prune", "store"), ("an activation was killed", "store", "activate"),
    ("an activation was killed", "store", "roll_back"), ("an activation was killed", "store", "store"),
]  # fmt: skip
LONG = {("prune", "upload"), ("prune", "prune")}
CASES = [
    pytest.param(*case, marks=() if case in QUICK else (*SLOW, pytest.mark.long) if case[1:] in LONG else SLOW)
    for case in (
        *((start, *pair) for start in ("active before", "no page", "a page in place") for pair in PAIRS),
        *AT_A_NEW_PLACE, *AFTER_A_KILL,
    )
]  # fmt: skip


@pytest.mark.parametrize(("start", "one", "other"), CASES)
def test_two_operations_at_once(app: App, start: str, one: str, other: str) -> None:
    versions = ("1", "1") if "prune" in {one, other} else ("1", "2")
    operations = (getattr(app, name)(version) for name, version in zip((one, other), versions, strict=True))
    for state in app.states(started(app, start), *operations):
        expect_sound(app, state)


@pytest.mark.e2e  # As above.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", STARTS)
# The same walks each time, or a run would fail by chance; and no shrinking, which takes minutes.
@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(choices=st.lists(st.integers(0, 99), min_size=200, max_size=200))
def test_many_at_once(app: App, start: str, choices: list[int]) -> None:
    operations = (
        app.prune(),
        app.upload("1"),
        app.prune(),
        app.activate("1"),
        app.upload("2"),
        app.roll_back(),
    )
    for state in app.walk(started(app, start), choices, *operations):
        expect_sound(app, state)


OPERATIONS = ["prune", "upload", "activate", "roll_back"]
KILLED = [
    pytest.param(start, killed, marks=() if (start, killed) in {("active before", "activate"), ("no page", "upload")}
                 else SLOW)
    for start in ("active before", "no page", "a page in place") for killed in OPERATIONS
] + [pytest.param("nothing", "upload")]  # fmt: skip


@pytest.mark.parametrize(("start", "killed"), KILLED)
def test_upload_and_pruning_recover_from_any_kill(app: App, start: str, killed: str) -> None:
    """At each request."""
    for state in app.states(started(app, start), getattr(app, killed)("1")):
        assert app.broken(state.bucket) == []
        after = app.done(state.bucket, app.upload("1"), app.prune()).bucket
        assert app.served(after) == "1"
        assert (app.broken(after), app.incomplete(after), app.mixed(after)) == ([], [], False)
        assert not any("/pruning-" in name for name in after.objects)


def test_activation_mixes_revisions_only_until_the_page_follows(app: App) -> None:
    """What visitors can see of an activation: the page as it was, beside files that are new already."""
    seen = [
        (app.served(state.bucket), app.mixed(state.bucket))
        for state in app.states(started(app, "active before"), app.activate("1"))
    ]
    assert list(dict.fromkeys(seen)) == [("3", False), ("3", True), ("1", False)]
    assert seen.count(("3", True)) == 1  # nothing else is asked in between


NEXT = ["prune", "store", "upload", "activate", "roll_back"]


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("operation", NEXT)
def test_next_operation_repairs_a_killed_activation(app: App, operation: str, version: str) -> None:
    start = started(app, "an activation was killed")
    assert app.mixed(start)
    after = app.done(start, getattr(app, operation)(version)).bucket
    assert (app.mixed(after), app.broken(after)) == (False, [])


@pytest.mark.parametrize(
    "operation", [pytest.param(one, marks=() if one == "store" else SLOW) for one in NEXT]
)
def test_repair_of_a_killed_activation_may_be_killed_too(app: App, operation: str) -> None:
    for state in app.states(started(app, "an activation was killed"), getattr(app, operation)("2")):
        after = app.done(state.bucket, app.prune()).bucket
        assert (app.mixed(after), app.broken(after)) == (False, [])
