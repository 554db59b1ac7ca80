"""What is wrong with how the public is served one object."""

import pytest
from msgspec.structs import replace

from tasks.lib.ember import content
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.verification import ORIGIN, asking, mending, served_faults
from tasks.lib.ember.wire import Response
from tasks.lib.settings.ember import Cors

DATA = b"let a;" * 50
PACKED = content.compress(DATA)
ENTRY = Entry(
    "a.js", len(DATA), content.checksum([DATA]), b"", Headers("text/javascript", "no-cache"), True,
    Member("a.js", FILE, len(DATA), 0, None),
)  # fmt: skip
HEADERS = {
    "Content-Type": "text/javascript",
    "Cache-Control": "no-cache",
    "Content-Encoding": "gzip",
    "Access-Control-Allow-Origin": "*",
}


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
    assert list(served_faults(response, ENTRY, content.GZIP, "GET")) == [fault]


def test_gzip_that_is_served_as_something_else_is_told() -> None:
    entry = replace(ENTRY, crc32c=content.checksum([PACKED]))
    told = "it is gzip, and no browser unpacks what is served as text/javascript."

    assert list(served_faults(answer(Content_Encoding=""), entry, "", "GET")) == [told]
    assert list(served_faults(answer(content.compress(PACKED)), entry, content.GZIP, "GET")) == [told]
    archive = replace(entry, headers=Headers("application/gzip", "no-cache"))
    assert (
        list(served_faults(answer(Content_Encoding="", Content_Type="application/gzip"), archive, "", "GET"))
        == []
    )
    assert "without a plugin" in mending([f"https://x/app.js: {told}"], "1f", "https://x/")


def test_a_sound_answer_has_no_fault() -> None:
    assert list(served_faults(answer(), ENTRY, content.GZIP, "GET")) == []
    assert list(served_faults(answer(Access_Control_Allow_Origin=ORIGIN), ENTRY, content.GZIP, "GET")) == []


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

    assert asking(rules) == asked


def test_a_configured_origin_has_to_be_allowed_and_no_other() -> None:
    closed, theirs = answer(Access_Control_Allow_Origin=""), "https://a.example"

    assert list(served_faults(closed, ENTRY, content.GZIP, "GET", "")) == []
    assert list(served_faults(closed, ENTRY, content.GZIP, "GET", theirs)) == [
        "pages of https://a.example may not read it: `./inv ember.bucket --apply` configures CORS."
    ]
    open_ = answer(Access_Control_Allow_Origin=theirs)
    assert list(served_faults(open_, ENTRY, content.GZIP, "GET", theirs)) == []


def test_to_head_there_is_no_body_to_compare() -> None:
    assert list(served_faults(answer(b""), replace(ENTRY, crc32c=1), content.GZIP, "HEAD")) == []
