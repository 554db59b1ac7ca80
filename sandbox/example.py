"""A small built Ember app, made by code: what `ember build --environment=production` leaves in dist/.

Its page works: the script loads a chunk, a picture and a list of its assets, and says how that went in
`data-state`, so that a browser test can tell a whole app from a mixture of two.
"""

import hashlib
import io
import json
import math
import struct
import wave
import zlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

RATE = 8000


def files(version: str = "1") -> Mapping[str, bytes]:
    """The app's files by path.

    Args:
        version: a word that ends up in the page and in every fingerprint.

    """
    picture = _fingerprinted("assets/images/star", "png", _png(len(version)))
    chunk = _fingerprinted("assets/chunk.143", "js", _chunk(version))
    style = _fingerprinted("assets/lookit-player", "css", _css(picture))
    vendor = _fingerprinted("assets/vendor", "js", _vendor())
    app = _fingerprinted("assets/lookit-player", "js", _script(version, chunk[0], picture[0]))
    assets = dict([picture, chunk, style, vendor, app])
    names = {"style": style[0], "vendor": vendor[0], "app": app[0]}
    return {
        **assets,
        "index.html": _page(version, names),
        "robots.txt": b"User-agent: *\nDisallow: /\n",
        "crossdomain.xml": b'<?xml version="1.0"?>\n<cross-domain-policy/>\n',
        "sounds/chime.wav": _sound(),
        "assets/assetMap.json": json.dumps({"assets": sorted(assets), "prepend": ""}, indent=1).encode(),
    }


def write(folder: Path, version: str = "1") -> Path:
    """Write the app's files below `folder`, which is made, and return it."""
    for path, data in files(version).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def _fingerprinted(stem: str, suffix: str, data: bytes) -> tuple[str, bytes]:
    """A file named as Ember's asset pipeline names it: the MD5 of the content before the suffix."""
    return f"{stem}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}.{suffix}", data


def _page(version: str, names: Mapping[str, str]) -> bytes:
    config = quote(json.dumps({"modulePrefix": "lookit-player", "rootURL": "", "locationType": "none"}))
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Lookit study</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="lookit-player/config/environment" content="{config}">
    <link rel="stylesheet" href="{names["style"]}">
  </head>
  <body data-version="{version}" data-state="loading">
    <script src="{names["vendor"]}"></script>
    <script src="{names["app"]}"></script>
  </body>
</html>
""".encode()


def _script(version: str, chunk: str, picture: str) -> bytes:
    return f"""'use strict';
(function () {{
  var version = {json.dumps(version)};
  var body = document.body;
  function finish(state) {{ body.dataset.state = state; document.title = 'Lookit study: ' + state; }}
  if (body.dataset.version !== version || window.lookitVendor !== true) {{ finish('mixed'); return; }}
  var image = new Image();
  image.onerror = function () {{ finish('no picture'); }};
  image.onload = function () {{
    var script = document.createElement('script');
    script.onerror = function () {{ finish('no chunk'); }};
    script.onload = function () {{
      if (window.lookitChunk !== version) {{ finish('mixed'); return; }}
      fetch('assets/assetMap.json').then(function (answer) {{ return answer.json(); }}).then(function (map) {{
        var whole = map.assets.indexOf({json.dumps(chunk)}) >= 0;
        body.appendChild(document.createElement('h1')).textContent = 'Study ' + version;
        finish(whole ? 'ready' : 'mixed');
      }}, function () {{ finish('no map'); }});
    }};
    script.src = {json.dumps(chunk)};
    body.appendChild(script);
  }};
  image.src = {json.dumps(picture)};
}})();
""".encode()


def _chunk(version: str) -> bytes:
    return f"window.lookitChunk = {json.dumps(version)};\n".encode()


def _vendor() -> bytes:
    """A bundle long enough to be worth compressing."""
    modules = (f"define('lookit/module-{n}', function () {{ return {n * n}; }});" for n in range(600))
    return "\n".join(
        ["window.lookitVendor = true;", "function define(name, body) { define.all[name] = body; }",
         "define.all = {};", *modules, ""]
    ).encode()  # fmt: skip


def _css(picture: tuple[str, bytes]) -> bytes:
    relative = picture[0].removeprefix("assets/")
    return f"body {{ font: 1rem/1.5 sans-serif; background: #fff url({relative}) no-repeat; }}\n".encode()


def _png(seed: int, side: int = 32) -> bytes:
    """A square picture of one channel."""
    rows = b"".join(b"\0" + bytes((x * y + seed) % 256 for x in range(side)) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _sound(seconds: float = 0.5) -> bytes:
    """A tone that fades."""
    count = int(RATE * seconds)
    samples = (int(20000 * (1 - n / count) * math.sin(2 * math.pi * 660 * n / RATE)) for n in range(count))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return buffer.getvalue()
