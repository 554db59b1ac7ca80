"""A registry in memory that speaks the distribution API over real HTTP: small enough for fast tests."""

import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sandbox.certificates import Pair
from tasks.lib.image.reference import parse
from tasks.lib.image.registry import connect, no_such_image
from tasks.lib.settings.model import Settings
from tests.serving import answering

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def resolve_digest(settings: Settings, reference: str) -> str:
    """The digest that a registry holds for an image's name, tag or digest; raises where it holds none."""
    image = parse(reference)
    digest = connect(settings, image.registry).digest(image)
    if not digest:
        raise no_such_image(image)
    return digest


def digest_of(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


@dataclass
class MemoryRegistry:
    """What it holds, each by repository and digest, and how it behaves.

    Args:
        address: host and port.
        mounts: whether it mounts blobs of other repositories.
        states_digests: whether answers carry Docker-Content-Digest.
        upload_query: what stands behind the `?` of an upload's address.
        undeletable: digests that it refuses to delete.
        watch: called with each request's line, before it is answered.

    """

    address: str
    mounts: bool = True
    states_digests: bool = True
    upload_query: str = ""
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    undeletable: set[str] = field(default_factory=set)
    watch: Callable[[str], object] = str

    def blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Add a blob; returns its descriptor."""
        self.blobs[repository, digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}

    def manifest(self, repository: str, content: object, media_type: str, *tags: str) -> str:
        """Add a manifest under `tags`; returns its digest."""
        body = json.dumps(content).encode()
        digest = digest_of(body)
        self.manifests[repository, digest] = media_type, body
        self.tags.update({(repository, tag): digest for tag in tags})
        return digest

    def image(self, repository: str, text: str, *tags: str, **configuration: Any) -> str:
        """Add an image of one layer; returns its digest."""
        config = self.blob(repository, json.dumps(configuration).encode())
        layers = [self.blob(repository, text.encode())]
        return self.manifest(repository, {"config": config, "layers": layers}, IMAGE, *tags)

    def found(self, repository: str, name: str) -> tuple[str, tuple[str, bytes]] | None:
        """Digest and content of a manifest by tag or digest."""
        digest = self.tags.get((repository, name), name)
        known = self.manifests.get((repository, digest))
        return (digest, known) if known else None

    def delete(self, repository: str, name: str) -> None:
        """Delete a tag alone, or a manifest with all its tags."""
        if (repository, name) in self.tags:
            del self.tags[repository, name]
            return
        del self.manifests[repository, name]
        self.tags = {key: digest for key, digest in self.tags.items() if digest != name}


@contextmanager
def serving(certificate: Pair | None = None) -> Iterator[MemoryRegistry]:
    """An empty registry that answers at its address, by TLS with a certificate, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        # Each connection shakes hands in its own thread, when it is first read.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry = MemoryRegistry(f"127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Own", (Handler,), {"registry": registry})
    with answering(server):
        yield registry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    registry: MemoryRegistry

    def answer(self) -> None:
        url = urlsplit(self.path)
        line = f"{self.command} {url.path}"
        self.registry.asked.append(line)
        self.registry.watch(line)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags)/(.+)", url.path)
        assert match, self.path
        getattr(self, match[2])(match[1], match[3], parse_qs(url.query), body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = answer  # noqa: N815 - their names

    def manifests(self, repository: str, name: str, _query: dict[str, list[str]], body: bytes) -> None:
        if self.command == "PUT":
            digest = self.registry.manifest(
                repository, json.loads(body), self.headers["Content-Type"], *([] if ":" in name else [name])
            )
            self._send(201, b"", **{"Docker-Content-Digest": digest})
            return
        found = self.registry.found(repository, name)
        if not found:
            self._send(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
        elif self.command == "DELETE" and name in self.registry.undeletable:
            self._send(403, b'{"errors": [{"code": "DENIED"}]}')
        elif self.command == "DELETE":
            self.registry.delete(repository, name)
            self._send(202, b"")
        else:
            digest, (media_type, content) = found
            stated = {"Docker-Content-Digest": digest} if self.registry.states_digests else {}
            self._send(200, content, **{"Content-Type": media_type, **stated})

    def blobs(self, repository: str, name: str, query: dict[str, list[str]], body: bytes) -> None:
        known = self.registry.blobs
        if self.command == "POST":
            source, digest = query["from"][0], query["mount"][0]
            if self.registry.mounts:
                known[repository, digest] = known[source, digest]
                self._send(201, b"")
            else:
                self._send(202, b"", Location=f"/v2/{repository}/blobs/uploads/1{self.registry.upload_query}")
        elif self.command == "PUT":
            assert query["digest"] == [digest_of(body)], "the content is not what its digest says"
            self.registry.blob(repository, body)
            self._send(201, b"")
        else:
            self._send(200, known[repository, name])

    def tags(self, repository: str, *_: object) -> None:
        found = [tag for owner, tag in self.registry.tags if owner == repository]
        known = any(owner == repository for owner, _ in self.registry.manifests)
        self._send(200 if known else 404, json.dumps({"tags": found or None}).encode())

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
