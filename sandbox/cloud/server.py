"""Google's REST APIs in one process: `python -m sandbox.cloud.server FOLDER PORT`.

It keeps nothing in memory: all it knows is in FOLDER (`State.google`), so a restart changes nothing.
"""

import json
import re
import sys
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from sandbox import http
from sandbox.cloud import accounts, gke, oauth, secret_manager, sql, sql_connect, tokens
from sandbox.cloud.answers import Answer, error, forbidden, out_of_scope, unauthenticated

PROJECT = "/v1/projects/(?P<project>[^/]+)"
CLUSTER = f"{PROJECT}/(?:locations|zones)/(?P<location>[^/]+)/clusters/(?P<name>[^/:]+)"
BACKUPS = f"{PROJECT}/instances/(?P<instance>[^/]+)/backupRuns"
EXPORT = f"{PROJECT}/instances/(?P<instance>[^/]+)/export"
RESTORE = f"{PROJECT}/instances/(?P<instance>[^/]+)/restoreBackup"
SECRET = f"{PROJECT}/secrets/(?P<secret>[^/]+)/versions/(?P<version>[^/:]+):access"
OPERATION = f"{PROJECT}/operations/(?P<name>[^/]+)"
# The Cloud SQL Auth Proxy asks an older version of the API.
INSTANCE = "/sql/v1beta4/projects/(?P<project>[^/]+)/instances/(?P<instance>[^/:]+)"

# Method, path, the permission that the caller needs, and who answers.
Route = tuple[str, str, str, Callable[..., Answer]]
ROUTES: tuple[Route, ...] = (
    ("GET", CLUSTER, "container.clusters.get", gke.get),
    ("GET", f"{CLUSTER}:fetchClusterUpgradeInfo", "container.clusters.get", gke.upgrade_info),
    ("POST", BACKUPS, "cloudsql.backupRuns.create", sql.insert),
    ("GET", BACKUPS, "cloudsql.backupRuns.list", sql.list_runs),
    ("POST", EXPORT, "cloudsql.instances.export", sql.export),
    ("GET", f"{PROJECT}/instances/(?P<instance>[^/]+)", "cloudsql.instances.get", sql.get),
    ("POST", RESTORE, "cloudsql.instances.restoreBackup", sql.restore),
    ("GET", SECRET, "secretmanager.versions.access", secret_manager.access),
    ("GET", OPERATION, "cloudsql.instances.get", sql.get_operation),
    ("GET", f"{INSTANCE}/connectSettings", "cloudsql.instances.get", sql_connect.settings),
    (
        "POST",
        f"{INSTANCE}:generateEphemeralCert",
        "cloudsql.instances.connect",
        sql_connect.ephemeral_certificate,
    ),
)

# What reaches a service besides the scope that reaches all.
SCOPES = {"cloudsql": ("https://www.googleapis.com/auth/sqlservice.admin",)}


def answer(google: Path, method: str, path: str, authorization: str, body: bytes = b"") -> Answer:
    """Answer a call to an API: find its route, check token and permission, then hand it on."""
    matches = [(route, match) for route in ROUTES if (match := re.fullmatch(route[1], path))]
    for (allowed, _, permission, call), match in matches:
        if method == allowed:
            resource = re.sub("^/(sql/)?v1[^/]*/", "", match[0])
            refusal = _refusal(google, authorization, permission, resource)
            with_body = (body,) if method == "POST" else ()
            return refusal or call(google, *with_body, **match.groupdict())
    if matches:
        return error(405, f"Method {method} is not served here.")
    return error(404, f"The sandbox does not serve {method} {path}.")


def _refusal(google: Path, authorization: str, permission: str, resource: str) -> Answer | None:
    """The answer to a caller without a valid token or without the permission; else None."""
    holder = tokens.holder(google, authorization.removeprefix("Bearer "))
    account = accounts.find(google, holder.email) if holder else None
    if not holder or not account:
        return unauthenticated()
    if not {tokens.CLOUD_PLATFORM, *SCOPES.get(permission.partition(".")[0], ())} & set(holder.scopes):
        return out_of_scope()
    if permission not in account.permissions:
        return forbidden(permission, resource)
    return None


class Handler(http.Handler):
    """Reads a request, asks for its answer, writes it."""

    google: Path

    def do_GET(self) -> None:
        """Answer a read."""
        path = urlsplit(self.path).path
        if path == "/healthz":
            self._send(Answer(200, {"status": "ok"}))
        else:
            self._send(answer(self.google, "GET", path, self.headers.get("Authorization", "")))

    def do_POST(self) -> None:
        """Answer a call with a body."""
        body, path = self.body(), urlsplit(self.path).path
        if path == "/token":
            self._send(oauth.token(self.google, dict(parse_qsl(body.decode(errors="replace")))))
        elif path == "/tokenreview":
            self._send(oauth.review(self.google, json.loads(body)))
        else:
            self._send(answer(self.google, "POST", path, self.headers.get("Authorization", ""), body))

    def _send(self, found: Answer) -> None:
        self.answer(found.status, json.dumps(found.body, indent=2))


def main() -> None:
    """Serve until ended."""
    Handler.google = Path(sys.argv[1])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()
