"""What `--sandbox` puts over the settings: other addresses, credentials and encrypted files."""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.components import CLOUD, KMS, STORAGE
from sandbox.state import State, state_from_layers, stored
from sandbox.watching import require_up
from tasks.lib.settings.reader import Layer, merged

DEPLOYER = "deployer"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = "*"  # means that only where it stands alone
NAMES = ("no_proxy", "NO_PROXY")  # some programs read the one, some the other


def settings_overlay(root: Path, layers: Sequence[Layer]) -> Mapping[str, Any]:
    """The values that lead to the sandbox of the checkout `root`, whose settings so far are `layers`."""
    spare_this_machine(os.environ)
    here = state_from_layers(root, layers)
    require_up(here)
    # Nothing outside this machine is asked: this checkout's commit stands for the application's.
    source = {"source": {"checkout": str(root)}}
    so_far = merged(layers)
    account = str(so_far.get("sandbox", {}).get("account") or DEPLOYER)
    found = values(here, with_encrypted_files(so_far), account)
    return {**found, **source, **image_values(so_far)}


def with_encrypted_files(so_far: Mapping[str, Any]) -> list[str]:
    """The environments whose settings do not say that they have none (`ciphertexts: ""`)."""

    def has_none(section: Any) -> bool:
        secrets = section.get("secrets") if isinstance(section, Mapping) else None
        return isinstance(secrets, Mapping) and secrets.get("ciphertexts") == ""

    return [name for name, section in so_far.get("environments", {}).items() if not has_none(section)]


def image_values(so_far: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where images are: in sandbox.registry where that is set. A registry elsewhere is not used at all."""
    from tasks.lib.errors import UsageError
    from tasks.lib.image.reference import parse
    from tasks.lib.image.registry import is_on_this_machine

    try:
        wanted = parse(str(so_far.get("image", {}).get("repository", "")))
    except UsageError:
        return {"registry": {"elsewhere": False, "resolve": False}}
    own = str(so_far.get("sandbox", {}).get("registry") or "")
    place = replace(wanted, registry=own or wanted.registry)
    resolve = {} if is_on_this_machine(place.registry) else {"resolve": False}
    registry = {"registry": {"elsewhere": False, **resolve}}
    return {**registry, "image": {"repository": place.name}} if own else registry


def values(here: State, environments: Sequence[str], account: str = DEPLOYER) -> Mapping[str, Any]:
    """The same for the sandbox in `here`, whether it runs or not, as the service account `account`."""
    ports = stored(here.ports)
    ciphertexts = {name: {"secrets": {"ciphertexts": str(here.ciphertexts(name))}} for name in environments}
    return {
        "google": {
            "credentials_file": str(here.key_file(account)),
            "encrypter_credentials_file": str(here.key_file("key-owner")),
            "ca_file": str(here.tls / "ca.crt"),
            "kms": f"127.0.0.1:{ports[KMS]}",
            "container": f"http://127.0.0.1:{ports[CLOUD]}",
            "sql_admin": f"http://127.0.0.1:{ports[CLOUD]}",
            "secret_manager": f"http://127.0.0.1:{ports[CLOUD]}",
            "storage": f"http://127.0.0.1:{ports[STORAGE]}",
        },
        "environments": ciphertexts,
    }


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
