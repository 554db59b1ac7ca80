"""Activation, in a bucket that takes one write a second to an object as Cloud Storage does."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials

from tasks.lib.ember import access as access_module
from tasks.lib.ember import bringing, pruning, revision, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.bringing import upload_with
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options
from tasks.lib.ember.wire import Job, Pause, Pool, Request, Response, Traffic
from tests.builders import checked_in_settings
from tests.clock import Clock
from tests.lib.ember import archives
from tests.lib.ember.interleavings import Bucket

EMBER = checked_in_settings().ember


class Strict:
    """Takes a pool's place: each job in turn, on a bucket that takes a second write only after a second."""

    def __init__(self, clock: Clock) -> None:
        self.bucket, self.traffic = Bucket(), Traffic()
        self.refused: list[str] = []
        self._clock, self._written = clock, dict[str, float]()

    def run(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            response = None
            while (step := _next(job, response)) is not None:
                response = None if isinstance(step, Pause) else self._answered(step)
                if isinstance(step, Pause):
                    self._clock.sleep(step.seconds)

    def _answered(self, request: Request) -> Response:
        before, now = self.bucket.last, self._clock.monotonic()
        after, response = self.bucket.answered(request)
        for name in after.last:
            if after.last[name] == before.get(name):
                continue
            if now - self._written.get(name, -1.0) < 1.0:
                self.refused.append(f"{request.method} {urlsplit(request.url).path} {name}")
                return Response(429, b"The object exceeded the rate limit for object mutation operations.")
            self._written[name] = now
        self.bucket = after
        return response

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """There are no connections."""


def _next(job: Job, response: Response | None) -> Request | Pause | None:
    try:
        return job.steps.send(response)
    except StopIteration:
        return None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.monotonic = lambda: sum(made.slept)  # type: ignore[method-assign]
    monkeypatch.setattr(access_module, "time", made)
    monkeypatch.setattr(bringing, "_side_by_side", lambda _pool, read, ask: (read(), ask()))
    return made


class App:
    """An app in a strict bucket."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.strict, self._folder = Strict(clock), folder
        self.pool = cast("Pool", self.strict)
        self.access = Access(
            "http://storage.invalid", "b", AnonymousCredentials(), 1.0, 1.0, "", Checkpoints(folder)
        )

    def upload(self, version: str) -> str:
        files = {"index.html": b"<head><script src=a.js></script></head>", "a.js": version.encode()}
        source = archives.saved(self._folder, archives.zipped(files), f"{version}.zip")
        summary = upload_with(self.pool, self.access, EMBER, source, "x", Options(), Progress())
        assert summary.active == summary.revision
        return summary.revision


@pytest.fixture
def app(clock: Clock, tmp_path: Path) -> App:
    return App(clock, tmp_path)


def test_the_first_activation_writes_the_page_twice_but_not_within_a_second(app: App, clock: Clock) -> None:
    name = app.upload("1")

    assert app.strict.refused == []
    assert app.strict.bucket.last["x/index.html"] == 2
    assert f"revisions/{name}/".encode() in (app.strict.bucket.content("x/index.html") or b"")
    assert sum(clock.slept) == app.access.between_writes == 1.0


def test_a_pruning_of_several_revisions_renews_the_page_once_a_second(app: App, clock: Clock) -> None:
    names = [app.upload(version) for version in "1234"]
    clock.sleep(60)

    for name in names[:2]:
        manifest = revision.manifest_name("x/", name)
        generation = app.strict.bucket.objects[manifest].generation
        assert pruning.prune(app.pool, app.access, "x/", name, generation) == "removed (3 objects)"

    assert app.strict.refused == []
    assert {one.name for one in revisions.listed(app.pool, app.access, "x/").complete} == set(names[2:])
