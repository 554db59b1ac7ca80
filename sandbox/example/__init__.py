"""A small Ember app as `ember build --environment=production` leaves it in dist/.

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
from string import Template
from urllib.parse import quote

RATE = 8000


def files(version: str = "1") -> Mapping[str, bytes]:
    """The app's files by path; the word `version` is in the page and in every fingerprint."""
    picture = _fingerprinted("assets/images/star", "png", _png(len(version)))
    chunk = _fingerprinted("assets/chunk.143", "js", f"window.lookitChunk = '{version}';\n".encode())
    style = _fingerprinted("assets/lookit-player", "css", _css(picture[0]))
    vendor = _fingerprinted("assets/vendor", "js", _vendor())
    # As with broccoli-asset-rev's fingerprintAssetMap; the app, which loads the map, is not in it.
    listed = json.dumps({"assets": sorted(dict([picture, chunk, style, vendor])), "prepend": ""}, indent=1)
    assets = _fingerprinted("assets/assetMap", "json", listed.encode())
    script = _filled("player.js", version=version, chunk=chunk[0], picture=picture[0], map=assets[0])
    app = _fingerprinted("assets/lookit-player", "js", script)
    config = quote(json.dumps({"modulePrefix": "lookit-player", "rootURL": "", "locationType": "none"}))
    names = {"style": style[0], "vendor": vendor[0], "app": app[0]}
    return {
        **dict([picture, chunk, style, vendor, assets, app]),
        "index.html": _filled("page.html", version=version, config=config, **names),
        "robots.txt": b"User-agent: *\nDisallow: /\n",
        "crossdomain.xml": b'<?xml version="1.0"?>\n<cross-domain-policy/>\n',
        "sounds/chime.wav": _sound(),
    }


def write(folder: Path, version: str = "1") -> Path:
    """Write the app's files below `folder`, which is created, and return it."""
    for path, data in files(version).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def _filled(name: str, **values: str) -> bytes:
    return Template(Path(__file__).with_name(name).read_text()).substitute(values).encode()


def _fingerprinted(stem: str, suffix: str, data: bytes) -> tuple[str, bytes]:
    """A file named as Ember's asset pipeline names it: the MD5 of the content before the suffix."""
    return f"{stem}-{hashlib.md5(data, usedforsecurity=False).hexdigest()}.{suffix}", data


def _vendor() -> bytes:
    """A bundle long enough to be worth compressing."""
    modules = (f"define('lookit/module-{n}', function () {{ return {n * n}; }});" for n in range(600))
    define = "function define(name, body) { define.all[name] = body; }\ndefine.all = {};"
    return "\n".join(["window.lookitVendor = true;", define, *modules, ""]).encode()


def _css(picture: str) -> bytes:
    relative = picture.removeprefix("assets/")
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
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(struct.pack(f"<{count}h", *samples))
    return buffer.getvalue()
