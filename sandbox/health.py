"""Asking a component whether it is well, quickly and without any client library."""

import socket
from urllib.parse import urlsplit

from sandbox.components import Probe

TIME_LIMIT = 2.0


def check(probe: Probe, time_limit: float = TIME_LIMIT) -> str:
    """Ask once; returns an empty text when the component is well, else what is wrong."""
    parts = urlsplit(probe.url)
    if parts.scheme == "tcp":
        return _check_port(parts.hostname or "", parts.port or 0, time_limit)
    import ssl
    import urllib.error
    import urllib.request

    try:
        context = ssl.create_default_context(cafile=probe.ca_file) if probe.ca_file else None
        no_proxy = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))
        with opener.open(probe.url, timeout=time_limit):
            return ""
    except urllib.error.HTTPError as error:
        return f"answers {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def _check_port(host: str, port: int, time_limit: float) -> str:
    try:
        socket.create_connection((host, port), time_limit).close()
    except OSError as error:
        return str(error)
    return ""
