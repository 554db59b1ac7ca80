"""Whatever comes between whose requests: no page is served whose files are gone."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import convert

from tasks.lib.ember import bringing, page, pruning, revision
from tasks.lib.ember import place as place_module
from tasks.lib.ember.access import Access
from tasks.lib.ember.bringing import upload_with
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.ember.place import Place
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.remote import Item
from tasks.lib.ember.revisions import Gone
from tasks.lib.ember.summary import Options
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.ember import archives
from tests.lib.ember.interleavings import Bucket, Operation, Running, State, done, states, walk

EMBER = checked_in_settings().ember
PREFIX = "x"
WHERE = f"{PREFIX}/"
INDEX = f"{WHERE}index.html"
AWAITS = "a page that awaits an activation"
SERVED = re.compile(rb'<base href="revisions/([0-9a-f]+)/">')


def files(version: str) -> dict[str, bytes]:
    return {"index.html": f"<head><script src=a.js></script>{version}".encode(), "a.js": version.encode()}


class App:
    """Operations on one app."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = patch
        self._access = Access(
            "http://storage.invalid", "bucket", AnonymousCredentials(), 1.0, 1.0, "", Checkpoints(folder)
        )
        self._archives = {
            version: archives.saved(folder, archives.zipped(files(version)), f"{version}.zip")
            for version in "123"
        }
        self.versions: dict[str, str] = {}
        for version in "123":
            state = self.done(Bucket(), self.upload(version, activate=False))
            self.versions[state.points[0].outcome.revision] = version  # type: ignore[attr-defined]
        self.names = {version: name for name, version in self.versions.items()}

    def upload(self, version: str, activate: bool = True) -> Operation:
        options = Options(activate=activate)
        source = self._archives[version]
        return lambda pool: upload_with(pool, self._access, EMBER, source, PREFIX, options, Progress())

    def store(self, version: str) -> Operation:
        return self.upload(version, activate=False)

    def activate(self, version: str) -> Operation:
        return self._at(lambda place: place.activate(self.names[version]))

    def roll_back(self, version: str) -> Operation:
        return self._at(lambda place: place.roll_back())

    def prune(self, _version: str = "") -> Operation:
        return self._at(lambda place: list(place.prune(0, 0, dry_run=False)))

    def _at(self, does: Callable[[Place], object]) -> Operation:
        def operation(pool: Pool) -> object:
            self._patch.setattr(place_module, "Pool", lambda *_: pool)
            with Place(self._access, PREFIX, 1) as place:
                return does(place)

        return operation

    def done(self, bucket: Bucket, *operations: Operation) -> State:
        for number, operation in enumerate(operations):
            state = done(bucket, operation, self._patch, f"before{number}-")
            assert not isinstance(state.outcomes[0], Failure), state.outcomes[0]
            bucket = state.bucket
        return state

    def states(self, bucket: Bucket, *operations: Operation) -> Iterator[State]:
        running = [Running(one, f"op{number}-", self._patch) for number, one in enumerate(operations)]
        return states(bucket, running)

    def walk(self, bucket: Bucket, choices: Iterable[int], *operations: Operation) -> Iterator[State]:
        """One of the ways through `states`."""
        running = [Running(one, f"op{number}-", self._patch) for number, one in enumerate(operations)]
        return walk(bucket, running, choices)

    def tried(self, bucket: Bucket, operation: Operation) -> State:
        return done(bucket, operation, self._patch)

    def missing(self, bucket: Bucket, name: str) -> list[str]:
        """The files of a revision that are not in the bucket as they should be."""
        where = revision.folder(WHERE, name)
        wanted = files(self.versions[name])
        return [path for path, data in wanted.items() if bucket.content(where + path) != data]

    def served(self, bucket: Bucket) -> str:
        """The revision that visitors are served."""
        match = SERVED.search(bucket.content(INDEX) or b"")
        return match[1].decode() if match else ""

    def broken(self, bucket: Bucket) -> list[str]:
        """What visitors look for in vain."""
        return self.missing(bucket, name) if (name := self.served(bucket)) else []


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(pruning, "LEAST_AGE", timedelta(0))
    # Reading the archive meanwhile changes nothing that others see, and a thread for each run takes its time.
    monkeypatch.setattr(bringing, "_side_by_side", lambda _pool, read, ask: (read(), ask()))
    return App(tmp_path, monkeypatch)


def starts(app: App) -> dict[str, Bucket]:
    """Buckets in which a pruning would remove revision 1."""
    first = app.done(Bucket(), app.upload("1", activate=False)).bucket
    manifest = revision.manifest_name(WHERE, app.names["1"])
    left = {name: kept for name, kept in first.objects.items() if name != manifest}
    return {
        "no page": first,
        "no page, no manifest": Bucket(left, first.last),
        "a page in place": first.put(INDEX, b"<head>in place"),
        "active before": app.done(Bucket(), *(app.upload(version) for version in "123")).bucket,
        "a pruning was killed": next(
            state.bucket
            for state in app.states(first, app.prune())
            if set(state.bucket.objects) == {manifest}
        ),
    }


def marks(bucket: Bucket) -> list[str]:
    """The marks of prunings that have not ended."""
    return [name for name in bucket.objects if revision.is_mark(convert(bucket.described(name), Item))]


def left_behind(app: App, bucket: Bucket) -> list[str]:
    """What no operation that came to its end should leave."""
    where = WHERE + revision.FOLDER
    found = [f"mark {name}" for name in marks(bucket)]
    if bucket.content(INDEX) == page.AWAITING:
        found.append(AWAITS)
    for name in app.versions:
        manifest = revision.manifest_name(WHERE, name)
        if manifest in bucket.objects:
            found += [f"{manifest} without {path}" for path in app.missing(bucket, name)]
        elif any(one.startswith(f"{where}{name}/") for one in bucket.objects):
            found.append(f"files of {name} without its manifest")
    return found


def expect_sound(app: App, state: State) -> None:
    """No visitor looks for a file in vain; who was told that all went well, can rely on it."""
    assert app.broken(state.bucket) == [], state.outcomes
    if all(state.outcomes) and not any(isinstance(one, Gone) for one in state.outcomes):
        assert left_behind(app, state.bucket) == [], state.outcomes


STARTS = ["no page", "no page, no manifest", "a page in place", "active before", "a pruning was killed"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("other", ["activate", "roll_back"])
def test_what_is_being_pruned_is_not_activated(app: App, start: str, other: str) -> None:
    for state in app.states(starts(app)[start], app.prune(), getattr(app, other)("1")):
        expect_sound(app, state)


@pytest.mark.e2e  # It needs no service, but half a minute.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("other", ["upload", "store", "prune"])
def test_what_is_being_pruned_is_uploaded_whole(
    app: App, monkeypatch: pytest.MonkeyPatch, start: str, other: str
) -> None:
    # What a second round meets is what another upload would meet.
    monkeypatch.setattr(bringing, "MOST_ROUNDS", 1)
    for state in app.states(starts(app)[start], app.prune(), getattr(app, other)("1")):
        expect_sound(app, state)
        if other == "upload" and all(state.outcomes) and not isinstance(state.outcomes[1], Failure):
            assert app.served(state.bucket) == app.names["1"]
            assert app.missing(state.bucket, app.names["1"]) == []


@pytest.mark.e2e  # As above.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", STARTS)
# The same walks each time, or a run would fail by chance; and no shrinking, which takes minutes.
@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(choices=st.lists(st.integers(0, 99), min_size=150, max_size=150))
def test_many_at_once(app: App, start: str, choices: list[int]) -> None:
    operations = (app.prune(), app.upload("1"), app.prune(), app.activate("1"), app.upload("2"))
    for state in app.walk(starts(app)[start], choices, *operations):
        expect_sound(app, state)


def afterwards(app: App, bucket: Bucket, then: str) -> Bucket:
    """The bucket after another upload of revision 1, or another pruning."""
    return app.done(bucket, getattr(app, then)("1")).bucket


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("then", ["upload", "prune"])
@pytest.mark.parametrize("killed", ["prune", "upload"])
def test_what_was_killed_is_finished_by_what_comes_next(app: App, start: str, killed: str, then: str) -> None:
    name = app.names["1"]
    for state in app.states(starts(app)[start], getattr(app, killed)("1")):
        after = afterwards(app, state.bucket, then)
        assert app.broken(after) == []
        assert [one for one in left_behind(app, after) if one != AWAITS] == []
        assert (app.served(after) == name) == (then == "upload" or app.served(state.bucket) == name)


def test_a_first_activation_that_fails_leaves_no_page(app: App) -> None:
    bucket = starts(app)["no page"]
    without = {name: kept for name, kept in bucket.objects.items() if not name.endswith("/a.js")}
    state = app.tried(Bucket(without, bucket.last), app.activate("1"))
    assert str(state.outcomes[0]).startswith(
        f"Revision {app.names['1']} is not whole; nothing was activated."
    )
    assert bucket.content(INDEX) is None
    assert state.bucket.content(INDEX) is None


def test_a_page_in_place_that_a_pruning_renewed_is_no_other_page(app: App) -> None:
    start = app.done(starts(app)["a page in place"], app.upload("2", activate=False)).bucket
    start = app.done(start, app.activate("1")).bucket
    in_place = start.put(INDEX, b"<head>in place again")
    ends = [s for s in app.states(in_place, app.prune(), app.activate("2")) if s.outcomes[1]]
    assert {"another activation" in str(state.outcomes[1]) for state in ends} == {False}


@pytest.mark.parametrize("start", STARTS)
def test_two_that_activate_the_same_revision_have_both_done_it(app: App, start: str) -> None:
    bucket = app.done(starts(app)[start], app.upload("1", activate=False)).bucket
    for state in app.states(bucket, app.activate("1"), app.activate("1")):
        assert not any(isinstance(one, Failure) for one in state.outcomes), state.outcomes
        assert not all(state.outcomes) or app.served(state.bucket) == app.names["1"]
