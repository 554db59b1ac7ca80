"""A real browser loads the app while revisions are activated and pruned over and over, and never sees a mixture."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
LOADS = 6

pytestmark = pytest.mark.browser


def state(document: str) -> str:
    """What the example app says of itself."""
    found = re.search(r'data-state="([^"]*)"', document)
    return found[1] if found else f"no page: {document[:300]}"


@contextmanager
def activating(access: Access, names: list[str]) -> Iterator[list[str]]:
    """Activate the revisions in turns, and prune, until the block ends; what was activated is listed."""
    ended = threading.Event()
    done: list[str] = []

    def loop() -> None:
        with opened(access, EMBER, PREFIX) as place:
            while not ended.is_set():
                name = names[len(done) % len(names)]
                overview.activate_chosen(place, name)
                pruning.prune(place, 0, 0, dry_run=False)
                done.append(name)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


@pytest.mark.timeout(600)
def test_visitors_see_no_failed_asset_during_activations(
    access: Access, chromium: str, tmp_path: Path
) -> None:
    names = [
        upload_to(access, EMBER, str(example.write(tmp_path / v, v)), PREFIX).revision for v in ("1", "2")
    ]
    with fault_proxy.running(access.endpoint) as proxy:
        # Slow answers give activations time to happen between the page and its last asset.
        proxy.latency = 0.05
        url = f"{proxy.url}/{access.bucket}/{PREFIX}/index.html"
        states: list[str] = []
        with activating(access, names) as done:
            while len(states) < LOADS or len(done) <= 2 * LOADS:
                states.append(state(loaded(chromium, url, tmp_path / f"profile-{len(states)}")))
    assert set(states) == {"ready"}


def test_a_page_of_another_version_can_be_seen_to_fail(access: Access, chromium: str, tmp_path: Path) -> None:
    """The example app does tell a broken page from a whole one."""
    app = example.write(tmp_path / "app", "1")
    upload_to(access, EMBER, str(app), PREFIX)
    page = (app / "index.html").read_bytes().replace(b'data-version="1"', b'data-version="2"')
    stored.put(access, f"{PREFIX}/index.html", page, "text/html")
    with fault_proxy.running(access.endpoint) as proxy:
        url = f"{proxy.url}/{access.bucket}/{PREFIX}/index.html"
        assert state(loaded(chromium, url, tmp_path / "profile")) == "mixed"
