"""Which headers a file gets."""

import pytest

from tasks.lib.ember.headers import Headers, Rules, may_be_gzip, type_of_suffix
from tasks.lib.settings.ember import HeaderRule
from tests.builders import checked_in_settings

EMBER = checked_in_settings().ember
RULES = Rules(EMBER.headers, EMBER.fingerprints)
FOREVER = "public, max-age=31536000, immutable"
FINGERPRINT = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("path", "content_type", "cache_control", "compressible"),
    [
        ("index.html", "text/html; charset=utf-8", "no-cache", True),
        ("tests/index.html", "text/html; charset=utf-8", "no-cache", True),
        (f"assets/app-{FINGERPRINT}.js", "text/javascript; charset=utf-8", FOREVER, True),
        (f"assets/app-{FINGERPRINT}.map", "application/json", FOREVER, True),
        (f"assets/logo-{FINGERPRINT}.png", "image/png", FOREVER, False),
        (f"index-{FINGERPRINT[:-1]}.js", "text/javascript; charset=utf-8", "no-cache", True),
        ("assets/app.css", "text/css; charset=utf-8", "no-cache", True),
        ("assets/logo.svg", "image/svg+xml", "no-cache", True),
        ("data/trials.csv", "text/csv; charset=utf-8", "no-cache", True),
        ("robots.txt", "text/plain; charset=utf-8", "no-cache", True),
        ("sounds/chime.wav", "audio/wav", "no-cache", False),
        ("fonts/a.woff2", "font/woff2", "no-cache", False),
        ("LICENSE", "application/octet-stream", "no-cache", False),
    ],
)
def test_the_documented_default(path: str, content_type: str, cache_control: str, compressible: bool) -> None:
    assert RULES.of(path) == (Headers(content_type, cache_control), compressible)


@pytest.mark.parametrize(
    ("content_type", "may_be"),
    [("application/gzip", True), ("Application/X-Tar ; version=1", True), ("text/css; charset=utf-8", False)],
)
def test_what_is_packed_itself_may_be_gzip(content_type: str, may_be: bool) -> None:
    assert may_be_gzip(content_type) is may_be


def test_first_rule_that_sets_a_header_wins() -> None:
    rules = Rules(
        [
            HeaderRule(path=r".*\.dat", content_type="text/x-data"),
            HeaderRule(path="a.*", cache_control="one", gzip=False),
            HeaderRule(path=".*", cache_control="two", content_type="never/reached", gzip=True),
        ],
        [],
    )
    assert rules.of("a.dat") == (Headers("text/x-data", "one"), False)
    assert rules.of("b.dat") == (Headers("text/x-data", "two"), True)


def test_equal_headers_are_one_object() -> None:
    assert RULES.of("a.png")[0] is RULES.of("b.png")[0]


def test_a_suffix_in_capitals_counts() -> None:
    assert type_of_suffix("LOGO.PNG") == "image/png"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"assets/app-{FINGERPRINT}.js", True),
        (f"assets/app-{FINGERPRINT}.js.map", True),
        (f"logo-{FINGERPRINT}.png", True),
        ("assets/chunk.524.16e260ce5f7dc04f2dd3.js", True),
        ("assets/16e260ce5f7dc04f2dd3.woff2", True),
        ("static/js/main.073c9b0a.chunk.js", True),
        ("assets/index-DiwrgTda.css", True),
        ("assets/index-f40OySzR.js", True),
        ("index.html", False),
        (f"page-{FINGERPRINT}.html", False),
        ("robots.txt", False),
        ("assets/assetMap.json", False),
        ("photo.20240101.jpg", False),
        ("assets/photo-20240101.jpg", False),
        ("assets/study-overview.js", False),
        ("index-DiwrgTda.css", False),
        ("assets/app-0123456789abcdef.js", False),
    ],
)
def test_the_default_knows_the_fingerprints_of_ember_vite_and_webpack(path: str, expected: bool) -> None:
    assert RULES.is_fingerprinted(path) is expected
    forever = RULES.of(path)[0].cache_control == FOREVER
    assert forever is expected
