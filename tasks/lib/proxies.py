"""Proxies are for what is elsewhere: what runs on this machine is reached without one, as Go does it."""

import re
from collections.abc import MutableMapping

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = "*"  # means that only where it stands alone
NAMES = ("no_proxy", "NO_PROXY")  # some programs read the one, some the other


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    return host in {*THIS_MACHINE, "[::1]"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def spare_this_machine(environ: MutableMapping[str, str]) -> None:
    """Have this process, and what it starts, ask no proxy for what runs on this machine.

    Where `http_proxy` is set and `no_proxy` is not, all of the sandbox would be asked through the proxy.
    """
    said = {name: environ.get(name, "") for name in NAMES}
    for name in NAMES:
        present = (said[name] or said[NAMES[0]] or said[NAMES[1]]).split(",")
        spared = [host.strip() for host in present if host.strip()]
        added = [host for host in THIS_MACHINE if host not in spared] if spared != [EVERYWHERE] else []
        environ[name] = ",".join([*spared, *added])
