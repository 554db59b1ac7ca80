"""A real browser loads the app while revisions are activated and pruned, and never sees a mixture."""

import re
import threading
from itertools import cycle
from pathlib import Path

import pytest

from sandbox import example
from tasks.lib.ember import overview, pruning
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import opened
from tasks.lib.ember.upload import upload_to
from tests.browser import loaded
from tests.builders import checked_in_settings
from tests.lib.ember import fault_proxy, stored

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
LOADS = 4

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def state(document: str) -> str:
    """What the example app says of itself."""
    found = re.search(r'data-state="([^"]*)"', document)
    return found[1] if found else f"no page: {document[:300]}"


def version(document: str) -> str:
    """The version whose page it is."""
    found = re.search(r'data-version="(\d)"', document)
    return found[1] if found else ""


class Meanwhile:
    """Activates the other revision, and prunes, between each page that a browser gets and the first of its files."""

    def __init__(self, access: Access, names: list[str]) -> None:
        self.activated: list[str] = []
        self._access, self._next = access, cycle(names)
        self._lock = threading.Lock()
        self._has_page = False

    def draw(self, path: str) -> str:
        """In a proxy's place: called before each answer; nothing goes wrong with it."""
        with self._lock:
            is_page = path.endswith("/index.html")
            if self._has_page and not is_page:
                self._activate(next(self._next))
            self._has_page = is_page
        return ""

    def _activate(self, name: str) -> None:
        with opened(self._access, EMBER, PREFIX) as place:
            overview.activate_chosen(place, name)
            pruning.prune(place, 0, 0, dry_run=False)
        self.activated.append(name)


def test_visitors_see_no_failed_asset_during_activations(
    access: Access, chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        upload_to(access, EMBER, str(example.write(tmp_path / v, v)), PREFIX).revision for v in ("1", "2")
    ]
    meanwhile = Meanwhile(access, names)
    with fault_proxy.running(access.endpoint) as proxy:
        monkeypatch.setattr(proxy, "draw", meanwhile.draw)
        url = f"{proxy.url}/{access.bucket}/{PREFIX}/index.html"
        documents = [loaded(chromium, url, tmp_path / f"profile-{number}") for number in range(LOADS)]
    assert [state(document) for document in documents] == ["ready"] * LOADS
    assert [version(document) for document in documents] == ["2", "1"] * (LOADS // 2)
    assert meanwhile.activated == names * (LOADS // 2)


def test_a_page_of_another_version_can_be_seen_to_fail(access: Access, chromium: str, tmp_path: Path) -> None:
    """The example app does tell a broken page from a whole one."""
    app = example.write(tmp_path / "app", "1")
    upload_to(access, EMBER, str(app), PREFIX)
    page = (app / "index.html").read_bytes().replace(b'data-version="1"', b'data-version="2"')
    stored.put(access, f"{PREFIX}/index.html", page, "text/html")
    with fault_proxy.running(access.endpoint) as proxy:
        url = f"{proxy.url}/{access.bucket}/{PREFIX}/index.html"
        assert state(loaded(chromium, url, tmp_path / "profile")) == "mixed"
