"""Whatever goes wrong on the way, the bucket ends equal to the archive, or there is an exact error.

LOOKIT_FAULT_RUNS=1000 makes as many runs as that, in tests of a hundred (-n 4 shares them); by default there are a few.
"""

import base64
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tasks.lib.ember import content, resumable
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import UNREACHABLE, Response
from tasks.lib.ember.place import opened
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import bring, upload_to
from tasks.lib.errors import Failure
from tests.builders import ROOT, checked_in_settings
from tests.heard import until
from tests.lib.ember import archives, fault_proxy, stored
from tests.lib.ember.fault_proxy import FaultProxy

RUNS = int(os.environ.get("LOOKIT_FAULT_RUNS", "30"))
SEEDS = [range(first, min(first + 100, RUNS)) for first in range(0, RUNS, 100)]
EMBER = checked_in_settings(
    ember={"resumable_above": "64KiB", "resumable_part": "256KiB", "connections": 8}
).ember
FINGERPRINT = re.compile(r"-[0-9a-f]{32}\.")


@pytest.fixture
def proxy(access: Access) -> Iterator[FaultProxy]:
    with fault_proxy.running(access.endpoint) as running:
        yield running


def through(access: Access, proxy: FaultProxy) -> Access:
    """The way to the same bucket through the proxy, with short pauses."""
    return dataclasses.replace(access, endpoint=proxy.url, first_pause=0.002)


def listed(access: Access, prefix: str) -> dict[str, int]:
    """What visitors find: path → CRC32C of the unpacked content, straight from the server."""
    url = f"{access.objects_url()}?prefix={prefix}/"
    with urllib.request.urlopen(url) as answer:
        items = json.load(answer).get("items", [])
    found = {}
    for item in items:
        path = item["name"].removeprefix(f"{prefix}/")
        if path.startswith("revisions/"):
            continue
        crc32c = int.from_bytes(base64.b64decode(item["crc32c"]), "big")
        if item.get("contentEncoding") == "gzip":
            with urllib.request.urlopen(f"{access.object_url(item['name'])}?alt=media") as answer:
                crc32c = content.checksum(
                    [content.unpacked(answer.read(), answer.headers["Content-Encoding"] or "")]
                )
        found[path] = crc32c
    return found


def expected(files: dict[str, bytes]) -> dict[str, int]:
    return {path: content.checksum([data]) for path, data in files.items()}


def fingerprinted(stem: str, suffix: str, data: bytes) -> str:
    return f"{stem}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}.{suffix}"


def some_files(draw: random.Random) -> dict[str, bytes]:
    files = {"robots.txt": b"%d" % draw.getrandbits(32)}
    for number in range(draw.randint(1, 8)):
        data = b"let a = %d;" % draw.getrandbits(32) * draw.randint(1, 200)
        files[fingerprinted(f"assets/{number}", "js", data)] = data
    if draw.random() < 0.5:
        # Beyond a mebibyte contents are not kept between judging and sending, so sessions are used.
        film = draw.randbytes(draw.randint(1100 << 10, 2200 << 10))
        files[draw.choice(["movie.webm", fingerprinted("movie", "webm", film)])] = film
    scripts = "".join(f"<script src={path}></script>" for path in files if path.endswith(".js"))
    return {**files, "index.html": f"<html><head>{scripts}</head>".encode()}


def failure_of(way: Access, source: str, prefix: str) -> Failure | None:
    """How an upload failed, if it did."""
    try:
        upload_to(way, EMBER, source, prefix)
    except Failure as failure:
        return failure
    return None


def expect_no_mixture(there: dict[str, int], versions: list[dict[str, bytes]]) -> None:
    """The page is that of one version, and finds all files of that version whose names say what they hold."""
    served = [
        expected(files) for files in versions if there.get("index.html") == expected(files)["index.html"]
    ]
    assert bool(served) == ("index.html" in there)
    for wanted in served:
        assert {
            path: crc32c for path, crc32c in wanted.items() if FINGERPRINT.search(path)
        }.items() <= there.items()
    possible = {item for files in versions for item in expected(files).items()}
    assert there.items() <= possible


def one_run(seed: int, access: Access, proxy: FaultProxy, folder: Path) -> str:
    """Upload through faults, then without; whether the first was done."""
    draw = random.Random(seed)
    prefix = f"run-{seed}"
    kind = draw.choice(sorted(archives.KINDS))
    earlier, files = some_files(draw), some_files(draw)
    earlier |= dict(list(files.items())[1:2])  # a fingerprinted file that both have
    source = archives.saved(folder, archives.KINDS[kind](files))
    faults = (*fault_proxy.PASSING, fault_proxy.LASTING) if draw.random() < 0.3 else fault_proxy.PASSING
    way, versions = through(access, proxy), [files]
    if draw.random() < 0.6:
        proxy.plan(seed, (), 0.0)
        upload_to(way, EMBER, archives.saved(folder, archives.zipped(earlier), "earlier"), prefix)
        versions = [earlier, files]
    proxy.plan(seed, faults, draw.choice([0.05, 0.2, 0.5]))
    failure = failure_of(way, source, prefix)
    there = listed(access, prefix)
    expect_no_mixture(there, versions)
    if failure is None:
        assert expected(files).items() <= there.items()
    else:
        assert failure.why
        assert failure.next_step
    proxy.plan(seed, (), 0.0)
    upload_to(way, EMBER, source, prefix)
    assert expected(files).items() <= listed(access, prefix).items()
    again = upload_to(way, EMBER, source, prefix)
    assert (again.sent, again.copied, again.active) == (0, 0, again.revision)
    return "error" if failure else "equal"


@pytest.mark.timeout(max(580, 20 * len(SEEDS[0])))
@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_random_faults_end_in_success_or_an_exact_error(
    access: Access, proxy: FaultProxy, tmp_path: Path, seeds: range
) -> None:
    outcomes = Counter(one_run(seed, access, proxy, tmp_path) for seed in seeds)
    asked = sum(session.asked for session in proxy.sessions.all.values())
    print(f"{outcomes.total()} runs: {dict(outcomes)}, faults: {dict(proxy.happened)}")  # noqa: T201 - for -s
    print(f"{len(proxy.sessions.all)} sessions, asked {asked} times what they have")  # noqa: T201
    assert outcomes["equal"] > outcomes["error"]
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
    upload_to(through(access, proxy), EMBER, archives.saved(tmp_path, archives.zipped(files)), "p")
    assert listed(access, "p") == expected(files)
    assert proxy.happened[fault] > 0


def test_a_lasting_refusal_says_what_is_missing(access: Access, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.plan(7, (fault_proxy.LASTING,), 1.0)
    source = archives.saved(tmp_path, archives.zipped({"index.html": b"<html>"}))
    with pytest.raises(Failure) as caught:
        upload_to(through(access, proxy), EMBER, source, "p")
    assert "roles/storage.objectUser" in caught.value.next_step
    assert caught.value.exit_code == 1


def test_run_after_an_outage_sends_the_rest(access: Access, proxy: FaultProxy, tmp_path: Path) -> None:
    files = {"index.html": b"<html>", "m.bin": os.urandom(1 << 20)}
    source = archives.saved(tmp_path, archives.zipped(files))
    proxy.plan(7, ("503",), 1.0)
    way = dataclasses.replace(through(access, proxy), limit=0.5)
    with pytest.raises(Failure) as caught:
        upload_to(way, EMBER, source, "p")
    assert caught.value.exit_code == 70
    proxy.plan(7, (), 0.0)
    upload_to(through(access, proxy), EMBER, source, "p")
    assert listed(access, "p") == expected(files)


def app_with_film(folder: Path, size: int) -> tuple[bytes, str]:
    """A film, and the archive of an app that has it."""
    film = os.urandom(size)
    return film, archives.saved(folder, archives.zipped({"index.html": b"<html>", "film.bin": film}))


@pytest.fixture
def of_sessions(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes the requests of sessions go wrong, one after the other, and lists how."""

    def go_wrong(*faults: str, then: str = "") -> list[str]:
        left, happened = iter(faults), list[str]()

        def draw(path: str) -> str:
            if "uploadType=resumable" in path:
                happened.append(next(left, then))
                return happened[-1]
            return ""

        monkeypatch.setattr(proxy, "draw", draw)
        return happened

    return go_wrong


Going = Callable[..., list[str]]


def test_cut_off_part_resumes_where_the_session_says(
    access: Access, proxy: FaultProxy, tmp_path: Path, of_sessions: Going
) -> None:
    ember = structs.replace(EMBER, resumable_part=4 << 20)
    film, source = app_with_film(tmp_path, 4 << 20)
    happened = of_sessions("", "cut body")
    upload_to(through(access, proxy), ember, source, "p")
    (session,) = proxy.sessions.all.values()
    assert (session.asked, bytes(session.data)) == (1, film)
    # The session, the part, the question, the rest of the part.
    assert len(happened) == 4
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_bytes_sent_twice_count_once(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_sessions: Going
) -> None:
    _, source = app_with_film(tmp_path, 2 << 20)
    of_sessions("", "", "reset", "", "cut body")
    progress = Progress()
    told: list[str] = []
    monkeypatch.setattr(progress, "_show", lambda: told.append(progress.line(1.0)))
    with opened(through(access, proxy), EMBER, "p") as place:
        bring(place, source, Options(), progress)
    assert told[0].startswith("uploading: 0 of 2 files, 0 B of 2.0 MiB")
    assert any(" of 2 files, 1.0 MiB of 2.0 MiB" in line for line in told)
    assert told[-1].startswith("uploading: 2 of 2 files, 2.0 MiB of 2.0 MiB")
    assert progress._bytes == progress._all_bytes


def test_finished_session_is_not_sent_again(
    access: Access, proxy: FaultProxy, tmp_path: Path, of_sessions: Going
) -> None:
    ember = structs.replace(EMBER, resumable_part=4 << 20)
    film, source = app_with_film(tmp_path, 2 << 20)
    happened = of_sessions("", "lost answer")
    summary = upload_to(through(access, proxy), ember, source, "p")
    assert (summary.sent, len(happened), len(proxy.sessions.all)) == (2, 3, 1)
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_lost_session_is_begun_again(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, source = app_with_film(tmp_path, 2 << 20)
    asked: list[str] = []

    def draw(path: str) -> str:
        asked.append(path)
        if sum("upload_id=" in one for one in asked) == 2 and "upload_id=" in path:
            proxy.sessions.all.clear()
        return ""

    monkeypatch.setattr(proxy, "draw", draw)
    upload_to(through(access, proxy), EMBER, source, "p")
    assert len(proxy.sessions.all) == 1
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_session_ahead_of_its_checkpoint_skips_sent_bytes(
    access: Access, proxy: FaultProxy, tmp_path: Path, of_sessions: Going
) -> None:
    ember = structs.replace(EMBER, resumable_part=1 << 20)
    film, source = app_with_film(tmp_path, 3 << 20)
    of_sessions("", "", "cut body", then="reset")
    with pytest.raises(Failure):
        upload_to(dataclasses.replace(through(access, proxy), limit=0.3), ember, source, "p")
    (session,) = proxy.sessions.all.values()
    # One whole part, which is remembered, and half of the next one, of which nobody was told.
    assert len(session.data) == 3 << 19
    of_sessions()
    upload_to(through(access, proxy), ember, source, "p")
    assert (len(proxy.sessions.all), bytes(session.data)) == (1, film)
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_session_asking_to_wait_beyond_the_limit_times_out(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = app_with_film(tmp_path, 2 << 20)
    asked: list[int] = []

    def busy(*_arguments: Any) -> Any:
        asked.append(1)
        yield from ()
        return Response(503, b"busy", [b"Retry-After: 86400"])

    monkeypatch.setattr(resumable, "_part", busy)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, source, "p")
    assert (caught.value.exit_code, len(asked)) == (70, 1)
    assert caught.value.why.startswith("The last of 1 attempts: 503 busy")


def test_file_is_sent_again_when_its_session_ends(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, source = app_with_film(tmp_path, 2 << 20)
    part = resumable._part
    told: list[int] = []

    def unheard_once(*arguments: Any) -> Any:
        answer = yield from part(*arguments)
        told.append(answer.status)
        return Response(UNREACHABLE, b"lost") if len(told) == 1 else answer

    monkeypatch.setattr(resumable, "_part", unheard_once)
    upload_to(dataclasses.replace(access, first_pause=0.002), EMBER, source, "p")
    assert told[0] == 308
    assert listed(access, "p")["film.bin"] == content.checksum([film])


def test_large_file_resumes_in_the_next_run(
    access: Access, proxy: FaultProxy, tmp_path: Path, of_sessions: Going
) -> None:
    files = {"index.html": b"<html>", "m.bin": os.urandom(2 << 20)}
    source = archives.saved(tmp_path, archives.zipped(files))
    of_sessions(*[""] * 5, then="reset")
    with pytest.raises(Failure):
        upload_to(dataclasses.replace(through(access, proxy), limit=0.3), EMBER, source, "p")
    happened = of_sessions()
    upload_to(through(access, proxy), EMBER, source, "p")
    # Four parts were sent of eight, and no other session is begun.
    assert len(happened) == 4
    assert expected(files).items() <= listed(access, "p").items()
    assert list(access.checkpoints.folder.glob("*")) == []


CHILD = """
import sys, certifi
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from tests.builders import ROOT, checked_in_settings
from tasks.lib.ember.access import Access
from tasks.lib.ember.archive.source import open_archive
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import bring, upload_to
from tasks.lib.google.credentials import Tokens
endpoint, bucket, source, folder, connections = sys.argv[1:]
ember = checked_in_settings(ember={"connections": int(connections)}).ember
tokens = Tokens(AnonymousCredentials())
access = Access(endpoint, bucket, tokens, 300.0, 300.0, certifi.where(), Checkpoints(Path(folder)))
upload_to(access, ember, source, "p")
"""


ARRIVED, CONNECTIONS = 20, 4


def test_rerun_after_a_kill_sends_only_what_is_missing(
    access: Access, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [b"let a;" * n for n in range(1, 200)]
    files = {"index.html": b"<html>", **{fingerprinted("app", "js", data): data for data in scripts}}
    source = archives.saved(tmp_path, archives.zipped(files))
    writes, killed = itertools.count(1), threading.Event()
    held: list[str] = []

    def held_from_then_on(path: str) -> str:
        """The manifest and `ARRIVED` files pass; what is written then waits, and is never there."""
        if "uploadType=multipart" not in path or next(writes) <= 1 + ARRIVED:
            return ""
        held.append(path)
        killed.wait()
        return "reset"

    def arrived() -> int:
        """How many files are there, wherever the bucket keeps them; the manifest is none of them."""
        return len(stored.blobs(access, "p/")) - 1

    monkeypatch.setattr(proxy, "draw", held_from_then_on)
    argv = [proxy.url, access.bucket, source, str(tmp_path / "state"), str(CONNECTIONS)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *argv], cwd=ROOT)
    try:
        # On each of its connections a write is held: none is on its way that could pass once it is dead.
        until(lambda: arrived() == ARRIVED and len(held) == CONNECTIONS)
    finally:
        child.kill()
        child.wait()
        killed.set()
    monkeypatch.setattr(proxy, "draw", lambda _path: "")
    again = upload_to(through(access, proxy), EMBER, source, "p")
    assert again.sent == len(files) - ARRIVED
    assert listed(access, "p") == expected(files)
