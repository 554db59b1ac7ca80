"""What an app's page loads, and whether each address leads to the right file."""

import base64
import hashlib

import pytest

from tasks.lib.ember.page import lacking, problems

FILES = {"index.html": b"", "assets/app.js": b"let a;", "a b.css": b"", "schön.png": b""}
AT = "/studies/0b7e/"


def found(index: bytes | str, served_at: str = AT) -> list[str]:
    data = index.encode() if isinstance(index, str) else index
    return list(problems(data, FILES, served_at, FILES.__getitem__))


def lacks(address: str) -> str:
    return f"it loads {address}, which the app does not have"


@pytest.mark.parametrize(
    ("index", "lacking"),
    [
        ('<script src="assets/app.js"></script><link rel=stylesheet href="./a%20b.css?v=1#x">', []),
        ('<script src="assets/gone.js"></script><img src="x/../up.png">', ["assets/gone.js", "x/../up.png"]),
        ('<link rel="icon stylesheet" href=gone.css><link rel=canonical href=about>', ["gone.css"]),
        ('<base href="assets/"><script src="app.js"></script><script src="gone.js"></script>', ["gone.js"]),
        ('<base href="https://cdn.example/"><script src="gone.js"></script>', []),
        ('<script src="//x/a.js"></script><img src="data:image/png;base64,AA">', []),
        ('<script src="https://x/a.js"></script><script src=""></script><script></script><a href=gone>', []),
        ('<img src="schön.png"><img src="wegä.png">', ["wegä.png"]),
        ("<!-- <script src=gone.js></script> -->", []),
        ("<script src=gone.js></script>" * 2, ["gone.js"]),
    ],
)
@pytest.mark.parametrize("served_at", [AT, ""])
def test_missing_files_of_a_page_are_found(index: str, lacking: list[str], served_at: str) -> None:
    assert found(index, served_at) == [lacks(one) for one in lacking]


def test_an_address_that_begins_with_a_slash_is_the_sites() -> None:
    """A chunk that is asked for at /assets/ was seen in a build with fingerprint.prepend."""
    page = (
        f'<base href="/"><script src="{AT}assets/app.js"></script><script src="/assets/chunk.1.js"></script>'
    )
    outside = f"it loads /assets/chunk.1.js, which is not below {AT}, where the site serves the app"
    assert found(page) == [outside]
    assert found(page, "") == []
    assert found(f'<script src="{AT}assets/gone.js"></script>') == [lacks(f"{AT}assets/gone.js")]
    assert found('<base href="/"><script src="assets/app.js"></script>') == [
        f"it loads assets/app.js, which is not below {AT}, where the site serves the app"
    ]
    assert found('<img src="../up.png">') == [
        f"it loads ../up.png, which is not below {AT}, where the site serves the app"
    ]


@pytest.mark.parametrize("served_at", [AT, ""])
def test_an_address_that_no_browser_understands_is_passed_over(served_at: str) -> None:
    page = '<script src="http://["></script><base href="http://["><script src="gone.js"></script>'
    assert found(page, served_at) == []


def test_only_the_apps_own_missing_files_count_as_lacking() -> None:
    page = b"<script src=gone.js></script><img src=/static/x.png><img src=gone.js><link rel=icon href=assets/app.js>"
    assert lacking(page, FILES, AT) == lacking(page, FILES, "") == ["gone.js"]
    assert lacking(f"<script src={AT}assets/gone.js></script>".encode(), FILES, AT) == ["assets/gone.js"]


def integrity(kind: str, data: bytes) -> str:
    return f"{kind}-{base64.b64encode(hashlib.new(kind, data).digest()).decode()}"


@pytest.mark.parametrize(
    ("hashes", "is_intact"),
    [
        ([integrity("sha256", b"let a;")], True),
        ([integrity("sha384", b"let a;"), integrity("sha384", b"else")], True),
        ([integrity("sha256", b"let a;"), integrity("sha512", b"else")], False),
        ([integrity("sha512", b"else")], False),
        ([f"{integrity('sha256', b'let a;')}?option"], True),
        (["md5-AAAA"], True),
        ([], True),
    ],
    ids=["right", "one of two", "the stronger one counts", "wrong", "options", "unknown", "none"],
)
def test_integrity_hashes_are_those_of_the_files(hashes: list[str], is_intact: bool) -> None:
    page = f'<script src="assets/app.js" integrity="{" ".join(hashes)}"></script>'
    told = [] if is_intact else ["it loads assets/app.js with an integrity hash that is not the file's"]
    assert found(page) == told
