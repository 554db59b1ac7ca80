"""The part of a kubelet that the API server calls for `kubectl logs`."""

import datetime
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

from sandbox import http
from sandbox.node.api import Api, Object
from sandbox.node.container_logs import Line, NoLogs, Run, run_of

LOOK_AGAIN = 0.1
PLAIN = "text/plain"


@dataclass(frozen=True)
class Options:
    """What PodLogOptions say; see the Kubernetes API reference."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: datetime.datetime | None = None
    limit_bytes: int | None = None


def options_of(query: str, now: datetime.datetime) -> Options:
    """Read the query of a request for logs."""
    given = {key: values[-1] for key, values in parse_qs(query).items()}
    since = None
    if "sinceSeconds" in given:
        since = now - datetime.timedelta(seconds=int(given["sinceSeconds"]))
    elif "sinceTime" in given:
        since = datetime.datetime.fromisoformat(given["sinceTime"].replace("Z", "+00:00"))
    return Options(
        follow=given.get("follow") == "true",
        previous=given.get("previous") == "true",
        timestamps=given.get("timestamps") == "true",
        tail=int(given["tailLines"]) if "tailLines" in given else None,
        since=since,
        limit_bytes=int(given["limitBytes"]) if "limitBytes" in given else None,
    )


def chosen(run: Run, options: Options, now: datetime.datetime) -> list[Line]:
    """The lines that were written by `now` and are asked for."""
    lines = [line for line in run.lines if not run.running or line.time <= now]
    if options.since:
        lines = [line for line in lines if line.time >= options.since]
    return lines[max(0, len(lines) - options.tail) :] if options.tail is not None else lines


def spelled(line: Line, options: Options) -> bytes:
    """A line as it is sent."""
    stamp = line.time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if options.timestamps else ""
    return f"{stamp}{line.text}\n".encode()


class Handler(http.Handler):
    """Answers one connection of the API server."""

    protocol_version = "HTTP/1.0"  # what is followed ends with the connection

    api: Api

    def do_GET(self) -> None:
        """Logs of a container, or health."""
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if url.path == "/healthz":
            self.answer(200, "ok", PLAIN)
        elif not self.connection.getpeercert():
            self.answer(401, "Unauthorized", PLAIN)
        elif parts[0] == "containerLogs" and len(parts) == 4:
            self._logs(parts[1], parts[2], parts[3], options_of(url.query, _now()))
        else:
            self.answer(404, "404 page not found", PLAIN)

    def _logs(self, namespace: str, pod: str, container: str, options: Options) -> None:
        def find(*, previous: bool = False) -> Run:
            return run_of(self._pod(namespace, pod), container, previous=previous)

        try:
            run = find(previous=options.previous)
        except (NoLogs, requests.RequestException) as error:
            self.answer(400 if isinstance(error, NoLogs) else 500, str(error), PLAIN)
            return
        lines = chosen(run, options, _now())
        self.send_response(200)
        self.send_header("Content-Type", PLAIN)
        self.end_headers()
        data = b"".join(spelled(line, options) for line in lines)
        self.wfile.write(data[: options.limit_bytes])
        self.wfile.flush()
        if options.follow:
            self._follow(find, run, lines, options)

    def _follow(self, find: Callable[[], Run], run: Run, sent: list[Line], options: Options) -> None:
        """Send lines as their time comes, until the container ends."""
        began = run.lines[0].time if run.lines else None
        after = sent[-1].time if sent else None
        while run.running:
            time.sleep(LOOK_AGAIN)
            try:
                latest = find()
            except NoLogs:
                return
            except requests.RequestException:
                continue
            if latest.lines and latest.lines[0].time != began:
                return
            run = latest
            for line in chosen(run, Options(), _now()):
                if after is None or line.time > after:
                    self.wfile.write(spelled(line, options))
                    after = line.time
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing: the API server's log has it."""

    def _pod(self, namespace: str, name: str) -> Object:
        """The pod; NoLogs where it is gone."""
        found = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        if not found:
            raise NoLogs(f'pods "{name}" not found')
        return found


def serve(api: Api, folder: Path, port: int) -> None:
    """Serve until ended with the certificate in `folder`; callers must show one of the same authority."""
    Handler.api = api
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
