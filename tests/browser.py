"""Pages in a real browser: headless Chromium."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.serving import answering

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
# A page in a frame as wide as a phone; scripts of the frame around it look at it, for its own may not run.
FRAME = """<!doctype html><meta charset="utf-8"><style>body{margin:0}iframe{border:0}</style>
<iframe src="PAGE" width="WIDTH" height="HEIGHT"></iframe><pre id="seen"></pre><script>
window.ran = [];
window.onload = () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
  document.getElementById("seen").textContent = JSON.stringify({
    scrolls: root.scrollWidth, width: root.clientWidth, height: root.scrollHeight, title: page.title,
    scripts: page.scripts.length, images: page.images.length, ran: window.ran, text: page.body.innerText,
    bars: page.querySelectorAll("svg g.object rect").length, phases: page.querySelectorAll("svg g.phase rect").length,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    background: frame.contentWindow.getComputedStyle(root).colorScheme,
    wide: [...page.querySelectorAll("svg g rect, pre, dl, p, h1, h2")].filter(
      one => one.getBoundingClientRect().right > root.clientWidth + 1).length,
  });
};
</script>"""


def loaded(chromium: str, url: str, profile: Path) -> str:
    """The page's document once its scripts have run."""
    return _run(chromium, profile, "--virtual-time-budget=10000", "--dump-dom", url)


def seen(chromium: str, folder: Path, page: str, width: int = 390) -> dict[str, Any]:
    """What a page of `folder` looks like in a frame so wide."""
    with _serving(folder) as url:
        _frame(folder, page, width, 2000)
        document = loaded(chromium, f"{url}/frame.html", folder / "profile")
    found = re.search(r'<pre id="seen">(.*?)</pre>', document, re.S)
    assert found, document[:500]
    said: dict[str, Any] = json.loads(unescape(found[1]))
    return said


def photograph(
    chromium: str, folder: Path, page: str, picture: Path, width: int = 390, height: int = 2000
) -> None:
    """Take a picture of a page in a frame so wide."""
    with _serving(folder) as url:
        _frame(folder, page, width, height)
        size = f"--window-size={max(width, 500)},{height}"
        _run(chromium, folder / "profile", size, f"--screenshot={picture}", f"{url}/frame.html")


def _frame(folder: Path, page: str, width: int, height: int) -> None:
    text = FRAME.replace("PAGE", page).replace("WIDTH", str(width)).replace("HEIGHT", str(height))
    (folder / "frame.html").write_text(text)


def _run(chromium: str, profile: Path, *arguments: str) -> str:
    argv = [chromium, *FLAGS, f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))) as server:
        yield f"http://127.0.0.1:{server.server_port}"
