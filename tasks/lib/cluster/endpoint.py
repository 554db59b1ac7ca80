"""The address of an API server, and connections to it: certificate authority, proxy, errors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl

    from urllib3 import PoolManager

CONNECTIONS: Final = 8


@dataclass(frozen=True)
class Endpoint:
    """The address of an API server.

    Args:
        server: `https://host[:port]`.
        ca: its certificate authority as PEM; empty for the public ones.

    """

    server: str
    ca: str = ""


def pools_to(endpoint: Endpoint) -> "PoolManager":
    """Connections to the server, through the environment's proxy if there is one."""
    import urllib3

    options: dict[str, Any] = {"maxsize": CONNECTIONS, "block": False, "ssl_context": _tls(endpoint)}
    if proxy := proxy_to(endpoint):
        return urllib3.ProxyManager(proxy, **options)
    return urllib3.PoolManager(**options)


def proxy_to(endpoint: Endpoint) -> str:
    """The proxy that the environment or the system sets for this server; empty for none."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get("https", "")
    return "" if proxy_bypass(urlsplit(endpoint.server).hostname or "") else proxy


def _tls(endpoint: Endpoint) -> "ssl.SSLContext":
    import ssl

    context = ssl.create_default_context(cadata=endpoint.ca or None)
    # Python 3.13 enabled checks that the private authorities of many clusters do not pass.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def transport_errors() -> tuple[type[Exception], ...]:
    """The errors of a connection that fails or breaks."""
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError)


def cause(error: BaseException) -> str:
    """The innermost reason: urllib3 wraps the system's message several times."""
    while isinstance(inner := getattr(error, "reason", None) or error.__cause__, BaseException):
        error = inner
    return str(error) or type(error).__name__
