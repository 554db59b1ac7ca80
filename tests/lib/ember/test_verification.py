"""What is wrong with how the public is served one object."""

import dataclasses
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from msgspec.structs import replace

from sandbox import example
from tasks.lib.ember import content, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.entry import Entry
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.http import Response
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.verification import ORIGIN, Expected, _fix, answer_problems, origin_of, verify
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Cors
from tests.builders import checked_in_settings
from tests.lib.ember import stored
from tests.serving import answering

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"

DATA = b"let a;" * 50
PACKED = content.compress(DATA)
ENTRY = Entry(
    "a.js", len(DATA), content.checksum([DATA]), b"", Headers("text/javascript", "no-cache"), compressible=True,
)  # fmt: skip
HEADERS = {
    "Content-Type": "text/javascript",
    "Cache-Control": "no-cache",
    "Content-Encoding": "gzip",
    "Access-Control-Allow-Origin": "*",
}


def told(
    response: Response, entry: Entry = ENTRY, encoding: str = content.GZIP, method: str = "GET", origin: str = ORIGIN
) -> list[str]:  # fmt: skip
    """What is wrong with an answer."""
    headers = (
        ("Content-Type", entry.headers.content_type),
        ("Cache-Control", entry.headers.cache_control),
        ("Content-Encoding", encoding),
    )
    return list(answer_problems(response, Expected("https://x/a.js", entry, headers, origin), method))


def answer(body: bytes = PACKED, **changed: str) -> Response:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return Response(200, body, [f"{name}: {value}".encode() for name, value in headers.items() if value])


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (Response(403, b"no"), "the public is answered 403 no."),
        (answer(Content_Type="text/plain"), "Content-Type is 'text/plain', but should be 'text/javascript'."),
        (answer(Cache_Control=""), "Cache-Control is '', but should be 'no-cache'."),
        (answer(DATA, Content_Encoding=""), "Content-Encoding is '', but should be 'gzip'."),
        (
            answer(Access_Control_Allow_Origin="https://elsewhere.example"),
            "pages of other origins may not read it: `./inv ember.bucket --apply` configures CORS.",
        ),
        (
            answer(Access_Control_Allow_Origin=""),
            "pages of other origins may not read it: `./inv ember.bucket --apply` configures CORS.",
        ),
        (answer(content.compress(b"other")), "the bytes served are not the ones of the revision."),
        (answer(PACKED[:20]), "the bytes served are not the ones of the revision."),
        (answer(DATA), "the bytes served are not the ones of the revision."),
    ],
    ids=[
        "status", "type", "cache", "encoding", "another origin", "no origin", "content", "cut short", "not packed",
    ],
)  # fmt: skip
def test_one_thing_that_is_wrong_is_told(response: Response, fault: str) -> None:
    assert told(response) == [fault]


def test_gzip_that_is_served_as_something_else_is_told() -> None:
    entry = replace(ENTRY, crc32c=content.checksum([PACKED]))
    unreadable = "it is gzip, and no browser unpacks what is served as text/javascript."

    assert told(answer(Content_Encoding=""), entry, "") == [unreadable]
    assert told(answer(content.compress(PACKED)), entry) == [unreadable]
    archive = replace(entry, headers=Headers("application/gzip", "no-cache"))
    assert told(answer(Content_Encoding="", Content_Type="application/gzip"), archive, "") == []
    assert "without a plugin" in _fix([f"https://x/app.js: {unreadable}"], "1f")


def test_a_sound_answer_has_no_problem() -> None:
    assert told(answer()) == []
    assert told(answer(Access_Control_Allow_Origin=ORIGIN)) == []


@pytest.mark.parametrize(
    ("origins", "asked"),
    [
        ([["*"]], ORIGIN),
        ([["https://a.example", "https://b.example"]], "https://a.example"),
        ([["https://a.example"], ["*"]], ORIGIN),
        ([[]], ""),
        ([], ""),
    ],
)
def test_who_asks_is_somebody_who_may(origins: list[list[str]], asked: str) -> None:
    rules = [Cors(origin=one, method=["GET"], response_header=[], max_age_seconds=1) for one in origins]

    assert origin_of(rules) == asked


def test_a_configured_origin_has_to_be_allowed_and_no_other() -> None:
    closed, theirs = answer(Access_Control_Allow_Origin=""), "https://a.example"

    assert told(closed, origin="") == []
    assert told(closed, origin=theirs) == [
        "pages of https://a.example may not read it: `./inv ember.bucket --apply` configures CORS."
    ]
    assert told(answer(Access_Control_Allow_Origin=theirs), origin=theirs) == []


def test_to_head_there_is_no_body_to_compare() -> None:
    assert told(answer(b""), replace(ENTRY, crc32c=1), method="HEAD") == []


@pytest.fixture
def place(access: Access) -> Iterator[Place]:
    with opened(access, EMBER, PREFIX) as made:
        yield made


def uploaded(access: Access, folder: Path, version: str) -> str:
    return upload_to(access, EMBER, str(example.write(folder / version, version)), PREFIX).revision


def problems_of(place: Place, name: str = "") -> list[str]:
    with pytest.raises(Failure, match="is not as it should be") as caught:
        verify(place, name, EMBER.bucket.cors)
    return [line.removeprefix("- ") for line in caught.value.why.splitlines()]


@pytest.mark.parametrize("is_active", [True, False])
def test_a_sound_revision_verifies(access: Access, place: Place, tmp_path: Path, is_active: bool) -> None:
    name = uploaded(access, tmp_path, "1")
    if not is_active:
        uploaded(access, tmp_path, "2")
    sentence = f"Revision {name} is complete, and served as it should be."
    assert verify(place, name if not is_active else "", EMBER.bucket.cors) == sentence


def test_verify_without_an_active_revision_fails(access: Access, place: Place) -> None:
    with pytest.raises(Failure, match=f"No revision is active at {PREFIX}/"):
        verify(place, "", EMBER.bucket.cors)


def test_verify_names_all_problems_and_uploading_fixes_them(
    access: Access, place: Place, tmp_path: Path
) -> None:
    name = uploaded(access, tmp_path, "1")
    where = f"{PREFIX}/revisions/{name}/"
    stored.remove(access, f"{where}robots.txt")
    stored.put(access, f"{where}crossdomain.xml", b"<other/>", "application/xml")
    sound = stored.bucket(access).get_blob(f"{where}sounds/chime.wav")
    sound.content_type = "text/html"
    sound.patch()
    script = next(path for path in example.files("1") if "/app-" in path or "player-" in path)
    stored.remove(access, f"{PREFIX}/{script}")
    told = problems_of(place)
    url = f"{access.endpoint}/{access.bucket}/"
    for expected in (
        f"{where}robots.txt: it is missing, or its content differs.",
        f"{where}crossdomain.xml: it is missing, or its content differs.",
        f"{where}sounds/chime.wav: its headers differ.",
        f"{url}{where}sounds/chime.wav: Content-Type is 'text/html', but should be 'audio/wav'.",
        f"{url}{where}crossdomain.xml: the bytes served are not the ones of the revision.",
        f"{PREFIX}/{script}: it is missing, or its content differs.",
    ):
        assert expected in told
    assert any(one.startswith(f"{url}{PREFIX}/{script}: the public is answered 404") for one in told)
    assert uploaded(access, tmp_path, "1") == name
    assert verify(place, "", EMBER.bucket.cors).endswith("served as it should be.")


def test_a_page_that_is_another_one_is_told(access: Access, place: Place, tmp_path: Path) -> None:
    """As a copy from another bucket leaves one, with all that was noted of the other app's."""
    uploaded(access, tmp_path, "1")
    copied = stored.bucket(access).get_blob(f"{PREFIX}/index.html")
    copied.upload_from_string(b"<html><head></head></html>", content_type="text/html; charset=utf-8")
    assert f"{place.url}: the bytes served are not the ones of the revision." in problems_of(place)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[]", b"{}", b'{"files": {"a": 1}}', b'{"files": []}'])
def test_a_damaged_manifest_is_named_and_written_by_uploading_again(
    access: Access, place: Place, tmp_path: Path, data: bytes
) -> None:
    manifest = f"{PREFIX}/revisions/{uploaded(access, tmp_path, '1')}.json"
    stored.put(access, manifest, data, "application/json")
    with pytest.raises(Failure, match=f"{manifest} is no manifest"):
        verify(place, "", EMBER.bucket.cors)
    uploaded(access, tmp_path, "2")
    uploaded(access, tmp_path, "1")
    assert verify(place, "", EMBER.bucket.cors).endswith("served as it should be.")


def test_uploading_again_restores_a_missing_active_manifest(
    access: Access, place: Place, tmp_path: Path
) -> None:
    manifest = f"{PREFIX}/revisions/{uploaded(access, tmp_path, '1')}.json"
    stored.remove(access, manifest)
    with pytest.raises(Failure, match="is not complete") as caught:
        verify(place, "", EMBER.bucket.cors)
    assert (caught.value.exit_code, caught.value.why) == (1, f"{manifest} is missing.")
    uploaded(access, tmp_path, "1")
    assert verify(place, "", EMBER.bucket.cors).endswith("served as it should be.")


def test_notes_that_are_no_numbers_count_as_none(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    manifest = stored.bucket(access).get_blob(f"{PREFIX}/revisions/{name}.json")
    manifest.metadata = {**manifest.metadata, "lookit-files": "many", "lookit-size": "-"}
    manifest.patch()
    assert [(one.files, one.size) for one in revisions.listed(place).revisions.values()] == [(0, 0)]


class Proxy(BaseHTTPRequestHandler):
    """A site that serves /studies/<uuid>/ from the bucket; with `is_packed` it forgets to say what is packed."""

    access: Access
    is_packed = False

    def do_GET(self) -> None:
        path = self.path.removeprefix("/studies/0b7e/") or "index.html"
        blob = stored.bucket(self.access).get_blob(f"{PREFIX}/{path}")
        data = blob.download_as_bytes(raw_download=self.is_packed) if blob else b""
        self.send_response_only(200 if blob else 404)
        self.send_header("Content-Type", blob.content_type if blob else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_site_is_asked_too(access: Access, place: Place, tmp_path: Path, is_packed: bool) -> None:
    uploaded(access, tmp_path, "1")
    handler = type("_Proxy", (Proxy,), {"access": access, "is_packed": is_packed})
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        site = f"http://127.0.0.1:{server.server_port}/"
        if not is_packed:
            assert verify(place, "", EMBER.bucket.cors, site).endswith("served as it should be.")
            return
        with pytest.raises(Failure) as caught:
            verify(place, "", EMBER.bucket.cors, site)
    assert f"- {site}studies/0b7e/: the bytes served are not the ones of the revision." in caught.value.why


def test_a_site_that_serves_something_else_is_told(access: Access, place: Place, tmp_path: Path) -> None:
    uploaded(access, tmp_path, "1")
    handler = type("_Elsewhere", (Proxy,), {"access": dataclasses.replace(access, bucket="nowhere")})
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        site = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(Failure) as caught:
            verify(place, "", EMBER.bucket.cors, site)
    assert f"- {site}/studies/0b7e/robots.txt: the public is answered 404" in caught.value.why
