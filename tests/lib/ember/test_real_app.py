"""An app that the real ember-cli builds, at the site's address, in a real browser, while revisions come and go."""

import re
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree

import pytest

from tasks.lib.ember import overview, pruning
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure
from tests import ember_build
from tests.browser import loaded
from tests.builders import checked_in_settings
from tests.ember_build import Kind
from tests.lib.ember import stored
from tests.serving import answering

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
AT = "/studies/0b7e/"
ABSOLUTE, RELATIVE = Kind(AT, f"{AT}assets/"), Kind(chunks="assets/")
LOADS = 4
SHOWN = re.compile(r'<p id="study">([^<]*)</p>')
FINGERPRINTED = re.compile(r"(-[0-9a-f]{32}|\.[0-9a-f]{20})\.")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]


class Site(ThreadingHTTPServer):
    """Serves /studies/<uuid>/ from experiments/<uuid>/ of a bucket, as Lookit's proxy does; notes what was asked."""

    daemon_threads = True

    def __init__(self, access: Access) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.access = access
        self.answers: Counter[tuple[str, int]] = Counter()
        self.before: Callable[[str], object] = str  # called with a path before it is answered
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        status, kind, data = 404, "text/plain", b"nothing is served here"
        path = self.path.partition("?")[0]
        self.server.before(path)
        if path.startswith("/studies/"):
            name = (
                "experiments/" + path.removeprefix("/studies/") + ("index.html" if path.endswith("/") else "")
            )
            status, kind, data = self._asked(name)
        self.server.answers[path, status] += 1
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _asked(self, name: str) -> tuple[int, str, bytes]:
        try:
            with urllib.request.urlopen(self.server.access.public_url(name), timeout=30) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, "text/plain", b"not in the bucket"

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def site(access: Access) -> Iterator[Site]:
    with answering(Site(access)) as server:
        assert isinstance(server, Site)
        yield server


class Turns:
    """What comes before each file of a page: an activation or a rollback, an upload and a pruning."""

    def __init__(self, access: Access, names: list[str], variant: Path) -> None:
        self.active = names[1]
        self.taken = self.removed = 0
        self._access, self._names, self._variant = access, names, variant
        self._lock = threading.Lock()

    def before(self, path: str) -> None:
        """Take one if a browser asks for a fingerprinted file; it is answered afterwards."""
        if FINGERPRINTED.search(path):
            with self._lock:
                self.take()

    def take(self) -> None:
        """The other revision is active then; a third is uploaded, not activated, and removed."""
        with opened(self._access, EMBER, PREFIX) as place:
            self._change(place)
            (self._variant / "robots.txt").write_text(str(self.taken))
            upload_to(self._access, EMBER, str(self._variant), PREFIX, Options(activate=False))
            self.removed += "is removed" in " ".join(pruning.prune(place, 0, 0, dry_run=False))
        self.taken += 1

    def _change(self, place: Place) -> None:
        first, second = self._names
        if self.active == first:
            overview.roll_back(place)
            self.active = second
        else:
            overview.activate_chosen(place, first)
            self.active = first


@pytest.mark.parametrize("kind", [ABSOLUTE, RELATIVE], ids=["absolute addresses", "relative addresses"])
def test_visitors_of_a_real_app_never_see_a_mixture(
    access: Access, site: Site, chromium: str, tmp_path: Path, kind: Kind
) -> None:
    builds = [ember_build.built(version, kind) for version in "12"]
    names = [upload_to(access, EMBER, str(build), PREFIX).revision for build in builds]
    turns = Turns(access, names, copytree(builds[0], tmp_path / "variant"))
    site.before = turns.before
    shown: list[str] = []
    for wanted in names * (LOADS // 2):
        if turns.active != wanted:
            turns.take()
        document = loaded(chromium, f"{site.url}{AT}", tmp_path / f"profile-{len(shown)}")
        found = SHOWN.search(document)
        shown.append(found[1] if found else document[:500])
    both = ["template 1, style 1, chunk 1000", "template 2, style 2, chunk 1000"]
    assert shown == both * (LOADS // 2)
    failed = [path for path, status in site.answers if status != 200 and FINGERPRINTED.search(path)]
    assert failed == []
    assert any("chunk." in path for path, _ in site.answers)
    assert turns.removed == turns.taken >= 3 * LOADS


def test_chunk_loaded_from_outside_the_app_is_refused(access: Access) -> None:
    """ember-auto-import asks for chunks at /assets/, whatever fingerprint.prepend is."""
    build = ember_build.built("1", Kind(AT))
    with pytest.raises(Failure, match="No browser could run this app") as caught:
        upload_to(access, EMBER, str(build), PREFIX)
    assert re.search(r"it loads /assets/chunk\.\S+, which is not below /studies/0b7e/", caught.value.why)
    assert stored.contents(access, "") == {}


def test_changed_file_fails_its_integrity_hash(access: Access, tmp_path: Path) -> None:
    build = copytree(ember_build.built("1", RELATIVE), tmp_path / "dist")
    assert "integrity=" in (build / "index.html").read_text()
    script = next(build.glob("assets/study-*.js"))
    script.write_bytes(script.read_bytes() + b"\n")
    with pytest.raises(Failure, match="No browser could run this app") as caught:
        upload_to(access, EMBER, str(build), PREFIX)
    assert f"it loads assets/{script.name} with an integrity hash that is not the file's" in caught.value.why
