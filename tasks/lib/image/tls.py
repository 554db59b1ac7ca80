"""TLS with registries: which of them speak it, and whose certificates are trusted."""

import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.lib.errors import UsageError

if TYPE_CHECKING:
    from requests import Session

HTTPS = 443


def speaks_tls(host: str, seconds: float) -> bool:
    """Whether what listens at `host` speaks TLS, which Docker asks for first on this machine.

    Nothing is sent, so no certificate is checked here; each request checks it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities: to read them takes longest
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = urlsplit(f"https://{host}")
    try:
        with (
            socket.create_connection((url.hostname or "", url.port or HTTPS), seconds) as line,
            context.wrap_socket(line, server_hostname=url.hostname),
        ):
            return True
    except OSError:
        return False


def trust(session: "Session", ca_file: str) -> None:
    """Have a session trust the certificate authorities in `ca_file` besides the public ones."""
    from requests.adapters import HTTPAdapter

    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise UsageError(
            f"The registry's certificate authority cannot be read from {ca_file}.",
            str(error),
            "Name a file with PEM certificates in registry.ca_file (INVOKE_REGISTRY_CA_FILE=FILE).",
        ) from error

    class Trusting(HTTPAdapter):
        """Checks certificates with that context, through a proxy too."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            """The pool of connections."""
            return super().init_poolmanager(*args, **kwargs, ssl_context=context)

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            """The pool of connections through a proxy."""
            return super().proxy_manager_for(*args, **kwargs, ssl_context=context)

    session.mount("https://", Trusting())
