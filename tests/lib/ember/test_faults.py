"""Whatever goes wrong on the way, the bucket ends equal to the archive, or there is an exact error.

LOOKIT_FAULT_RUNS=1000 makes as many runs as that; by default there are a few.
"""

import base64
import dataclasses
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tasks.lib.ember import content, revision, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.bringing import upload_with
from tasks.lib.ember.inspection import inspect
from tasks.lib.ember.line import Line
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.wire import UNREACHABLE, Pool, Response
from tasks.lib.errors import Failure
from tests.builders import ROOT, checked_in_settings
from tests.heard import until
from tests.lib.ember import archives, fault_proxy
from tests.lib.ember.fault_proxy import FaultProxy

RUNS = int(os.environ.get("LOOKIT_FAULT_RUNS", "30"))
EMBER = checked_in_settings(
    ember={"resumable_above": "64KiB", "resumable_part": "256KiB", "connections": 8}
).ember
IN_PLACE = Options(in_place=True)
PAGE = b"<html><head></head>%d"


@pytest.fixture
def proxy(access: Access) -> Iterator[FaultProxy]:
    with fault_proxy.running(access.endpoint) as running:
        yield running


def through(access: Access, proxy: FaultProxy) -> Access:
    """The way to the same bucket through the proxy, with short pauses."""
    return dataclasses.replace(access, endpoint=proxy.url, first_pause=0.002, attempt_limit=5.0, limit=10.0)


def listed(access: Access, prefix: str) -> dict[str, int]:
    """Path → CRC32C of the unpacked content, straight from the server."""
    url = f"{access.objects_url()}?prefix={prefix}/"
    with urllib.request.urlopen(url) as answer:
        items = json.load(answer).get("items", [])
    found = {}
    for item in items:
        crc32c = int.from_bytes(base64.b64decode(item["crc32c"]), "big")
        if item.get("contentEncoding") == "gzip":
            with urllib.request.urlopen(f"{access.object_url(item['name'])}?alt=media") as answer:
                crc32c = content.checksum(
                    [content.unpacked(answer.read(), answer.headers["Content-Encoding"] or "")]
                )
        found[item["name"].removeprefix(f"{prefix}/")] = crc32c
    return found


def expected(files: dict[str, bytes]) -> dict[str, int]:
    return {path: content.checksum([data]) for path, data in files.items()}


def some_files(draw: random.Random) -> dict[str, bytes]:
    files = {"index.html": PAGE % draw.getrandbits(32)}
    for number in range(draw.randint(1, 8)):
        files[f"assets/{number}.js"] = b"let a = %d;" % draw.getrandbits(32) * draw.randint(1, 200)
    if draw.random() < 0.5:
        # Beyond a mebibyte contents are not kept between judging and sending, so sessions are used.
        files["movie.webm"] = draw.randbytes(draw.randint(1100 << 10, 2200 << 10))
    return files


def failure_of(way: Access, source: str, prefix: str, options: Options) -> Failure | None:
    """How an upload failed, if it did."""
    try:
        upload_to(way, EMBER, source, prefix, options)
    except Failure as failure:
        return failure
    return None


def one_run(seed: int, access: Access, proxy: FaultProxy, folder: Path) -> str:
    """Upload through faults, then without; whether the first was done."""
    draw = random.Random(seed)
    prefix = f"run-{seed}"
    kind = draw.choice(sorted(archives.KINDS))
    files = some_files(draw)
    source = archives.saved(folder, archives.KINDS[kind](files))
    faults = (*fault_proxy.PASSING, fault_proxy.LASTING) if draw.random() < 0.3 else fault_proxy.PASSING
    options, where = IN_PLACE, prefix
    way = through(access, proxy)
    if draw.random() < 0.4:
        options, where = Options(), f"{prefix}/revisions/{revision_of(source)}"
        earlier = archives.saved(folder, archives.zipped({**files, "index.html": PAGE % seed}), "earlier")
        proxy.plan(seed, (), 0.0)
        upload_to(way, EMBER, earlier, prefix, options)
    proxy.plan(seed, faults, draw.choice([0.05, 0.2, 0.5]))
    failure = failure_of(way, source, prefix, options)
    there = listed(access, where)
    if failure is None:
        assert there == expected(files)
    else:
        assert failure.why
        assert failure.next_step
        assert there.items() <= expected(files).items()
        # The page is served only with all that it loads.
        assert "index.html" not in there or there == expected(files)
    proxy.plan(seed, (), 0.0)
    upload_to(way, EMBER, source, prefix, options)
    assert listed(access, where) == expected(files)
    again = upload_to(way, EMBER, source, prefix, options)
    assert (again.sent, again.copied, again.active) == (0, 0, again.revision)
    return f"{'error' if failure else 'equal'} {'in place' if options.in_place else 'as a revision'}"


def revision_of(source: str) -> str:
    """What the app in an archive is called as a revision."""
    with closing(open_archive(source, EMBER.limits)) as archive:
        return revision.identity(inspect(archive, "p/", EMBER).entries)


@pytest.mark.timeout(max(580, 2 * RUNS))
def test_random_faults_end_with_an_equal_bucket_or_an_exact_error(
    access: Access, proxy: FaultProxy, tmp_path: Path
) -> None:
    outcomes = Counter(one_run(seed, access, proxy, tmp_path) for seed in range(RUNS))
    asked = sum(session.asked for session in proxy.sessions.all.values())
    print(f"{outcomes.total()} runs: {dict(outcomes)}, faults: {dict(proxy.happened)}")  # noqa: T201 - for -s
    print(f"{len(proxy.sessions.all)} sessions, asked {asked} times what they have")  # noqa: T201
    assert outcomes["equal in place"] > outcomes["error in place"]
    assert outcomes["equal as a revision"] > outcomes["error as a revision"]
    assert set(proxy.happened) >= set(fault_proxy.PASSING)
    assert asked


@pytest.mark.parametrize("fault", fault_proxy.PASSING)
def test_a_passing_fault_is_overcome(access: Access, proxy: FaultProxy, tmp_path: Path, fault: str) -> None:
    files = {
        "index.html": b"<html>",
        **{f"{n}.js": b"let a;" * n for n in range(1, 20)},
        "m.bin": bytes(300 << 10),
    }
    proxy.plan(7, (fault,), 0.3)
    upload_to(through(access, proxy), EMBER, archives.saved(tmp_path, archives.zipped(files)), "p", IN_PLACE)
    assert listed(access, "p") == expected(files)
    assert proxy.happened[fault] > 0


def test_a_lasting_refusal_says_what_is_missing(access: Access, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.plan(7, (fault_proxy.LASTING,), 1.0)
    source = archives.saved(tmp_path, archives.zipped({"index.html": b"<html>"}))
    with pytest.raises(Failure) as caught:
        upload_to(through(access, proxy), EMBER, source, "p", IN_PLACE)
    assert "roles/storage.objectUser" in caught.value.next_step
    assert caught.value.exit_code == 1


def test_an_outage_times_out_and_the_next_run_sends_the_rest(
    access: Access, proxy: FaultProxy, tmp_path: Path
) -> None:
    files = {"index.html": b"<html>", "m.bin": os.urandom(1 << 20)}
    source = archives.saved(tmp_path, archives.zipped(files))
    proxy.plan(7, ("503",), 1.0)
    way = dataclasses.replace(through(access, proxy), limit=0.5)
    with pytest.raises(Failure) as caught:
        upload_to(way, EMBER, source, "p", IN_PLACE)
    assert caught.value.exit_code == 70
    proxy.plan(7, (), 0.0)
    upload_to(way, EMBER, source, "p", IN_PLACE)
    assert listed(access, "p") == expected(files)


def app_with_film(folder: Path, size: int) -> tuple[bytes, str]:
    """A film, and the archive of an app that has it."""
    film = os.urandom(size)
    return film, archives.saved(folder, archives.zipped({"index.html": b"<html>", "film.bin": film}))


def test_a_part_that_was_cut_off_goes_on_where_the_session_says(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ember = structs.replace(EMBER, resumable_part=4 << 20)
    film, source = app_with_film(tmp_path, 4 << 20)
    faults = iter(["", "", "cut body"])
    monkeypatch.setattr(proxy, "draw", lambda: next(faults, ""))
    summary = upload_to(through(access, proxy), ember, source, "p", IN_PLACE)
    (session,) = proxy.sessions.all.values()
    assert (session.asked, bytes(session.data)) == (1, film)
    # Listing, session, the part, the question, the rest of the part, index.html.
    assert summary.requests == 6
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_what_is_sent_twice_counts_once(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = app_with_film(tmp_path, 2 << 20)
    faults = iter(["", "", "", "reset", "", "cut body"])
    monkeypatch.setattr(proxy, "draw", lambda: next(faults, ""))
    progress = Progress()
    told: list[str] = []
    monkeypatch.setattr(progress, "_show", lambda: told.append(progress.line(1.0)))
    way = through(access, proxy)
    with closing(Pool(way, Line(4))) as pool:
        upload_with(pool, way, EMBER, source, "p", IN_PLACE, progress)
    assert told[0].startswith("uploading: 0 of 2 files, 0 B of 2.0 MiB")
    assert any(line.startswith("uploading: 0 of 2 files, 1.0 MiB of 2.0 MiB") for line in told)
    assert told[-1].startswith("uploading: 2 of 2 files, 2.0 MiB of 2.0 MiB")
    assert progress._bytes == progress._all_bytes


def test_a_session_that_finished_unheard_is_not_sent_again(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ember = structs.replace(EMBER, resumable_part=4 << 20)
    film, source = app_with_film(tmp_path, 2 << 20)
    faults = iter(["", "", "lost answer"])
    monkeypatch.setattr(proxy, "draw", lambda: next(faults, ""))
    summary = upload_to(through(access, proxy), ember, source, "p", IN_PLACE)
    assert (summary.sent, summary.requests, len(proxy.sessions.all)) == (2, 5, 1)
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_a_session_that_is_gone_is_begun_anew(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, source = app_with_film(tmp_path, 2 << 20)
    faults = iter(["", "", "", "gone"])

    def draw() -> str:
        fault = next(faults, "")
        if fault == "gone":
            proxy.sessions.all.clear()
        return fault

    monkeypatch.setattr(proxy, "draw", draw)
    upload_to(through(access, proxy), EMBER, source, "p", IN_PLACE)
    assert len(proxy.sessions.all) == 1
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_a_session_that_has_more_than_was_remembered_passes_over_it(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ember = structs.replace(EMBER, resumable_part=1 << 20)
    film, source = app_with_film(tmp_path, 3 << 20)
    faults = iter(["", "", "", "cut body", *["reset"] * 10_000])
    with monkeypatch.context() as patch:
        patch.setattr(proxy, "draw", lambda: next(faults))
        with pytest.raises(Failure):
            upload_to(dataclasses.replace(through(access, proxy), limit=0.3), ember, source, "p", IN_PLACE)
    (session,) = proxy.sessions.all.values()
    # One whole part, which is remembered, and half of the next one, of which nobody was told.
    assert len(session.data) == 3 << 19
    upload_to(through(access, proxy), ember, source, "p", IN_PLACE)
    assert (len(proxy.sessions.all), bytes(session.data)) == (1, film)
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_a_wait_beyond_the_limit_that_a_session_asks_for_is_not_waited(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = app_with_film(tmp_path, 2 << 20)
    asked: list[int] = []

    def busy(*_arguments: Any) -> Any:
        asked.append(1)
        yield from ()
        return Response(503, b"busy", [b"Retry-After: 86400"])

    monkeypatch.setattr(sending, "_part", busy)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, source, "p", IN_PLACE)
    assert (caught.value.exit_code, len(asked)) == (70, 1)
    assert caught.value.why.startswith("The last of 1 attempts: 503 busy")


def test_a_server_that_ends_a_session_when_asked_is_sent_the_file_anew(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, source = app_with_film(tmp_path, 2 << 20)
    part = sending._part
    told: list[int] = []

    def unheard_once(*arguments: Any) -> Any:
        answer = yield from part(*arguments)
        told.append(answer.status)
        return Response(UNREACHABLE, b"lost") if len(told) == 1 else answer

    monkeypatch.setattr(sending, "_part", unheard_once)
    upload_to(dataclasses.replace(access, first_pause=0.002), EMBER, source, "p", IN_PLACE)
    assert told[0] == 308
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_a_large_file_goes_on_in_the_next_run_where_the_last_one_ended(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"index.html": b"<html>", "m.bin": os.urandom(2 << 20)}
    source = archives.saved(tmp_path, archives.zipped(files))
    parts = Counter[str]()
    draw = proxy.draw

    def cut_after_four_requests() -> str:
        parts["all"] += 1
        return "reset" if parts["all"] > 6 else draw()

    monkeypatch.setattr(proxy, "draw", cut_after_four_requests)
    way = dataclasses.replace(through(access, proxy), limit=0.3)
    with pytest.raises(Failure):
        upload_to(way, EMBER, source, "p", IN_PLACE)
    monkeypatch.setattr(proxy, "draw", draw)
    again = upload_to(way, EMBER, source, "p", IN_PLACE)
    # Listing, the session's state, index.html and the four parts that are left, of eight: no new session.
    assert again.requests <= 8
    assert listed(access, "p") == expected(files)
    assert list(access.checkpoints.folder.glob("*")) == []


CHILD = """
import sys, certifi
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from tests.builders import ROOT, checked_in_settings
from tasks.lib.ember.access import Access
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.inspection import inspect
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
endpoint, bucket, source, folder = sys.argv[1:]
ember = checked_in_settings(ember={"connections": 4}).ember
access = Access(endpoint, bucket, AnonymousCredentials(), 5.0, 10.0, certifi.where(), Checkpoints(Path(folder)))
upload_to(access, ember, source, "p", Options(in_place=True))
"""


ARRIVED = 20


def test_a_killed_upload_run_again_sends_only_what_is_missing(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"index.html": b"<html>", **{f"{n}.js": b"let a;" * n for n in range(1, 200)}}
    source = archives.saved(tmp_path, archives.zipped(files))
    requests, killed = itertools.count(1), threading.Event()

    def held_from_then_on() -> str:
        """A listing and `ARRIVED` files pass; what comes then waits, and is never there."""
        return "" if next(requests) <= 1 + ARRIVED or not killed.wait(120) else "reset"

    monkeypatch.setattr(proxy, "draw", held_from_then_on)
    argv = [sys.executable, "-c", CHILD, proxy.url, access.bucket, source, str(tmp_path / "state")]
    child = subprocess.Popen(argv, cwd=ROOT)
    try:
        until(lambda: len(listed(access, "p")) == ARRIVED)
    finally:
        child.kill()
        child.wait()
        killed.set()
    monkeypatch.setattr(proxy, "draw", lambda: "")
    again = upload_to(through(access, proxy), EMBER, source, "p", IN_PLACE)
    assert again.sent == len(files) - ARRIVED
    assert listed(access, "p") == expected(files)
