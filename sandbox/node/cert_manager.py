"""The part of cert-manager that a deploy waits for: issuers and certificates become Ready, with Secrets.

No client trusts the authority that signs them, and an issuer registers no account.
"""

import base64
import datetime
import logging
import threading
from collections.abc import Callable

import requests

from sandbox.node.api import Api, Object

log = logging.getLogger(__name__)

ROOT = "/apis/cert-manager.io/v1"
BEHAVE = "sandbox.lookit.org/behave"
UNREADY = "never-ready"


def serve(api: Api) -> None:
    """Start to do so, in threads."""
    for plural, do in (("clusterissuers", _accept), ("issuers", _accept), ("certificates", _issue)):
        threading.Thread(target=_follow, args=(api, plural, do), daemon=True).start()


def _follow(api: Api, plural: str, do: Callable[[Api, Object, str], None]) -> None:
    for thing in api.follow(f"{ROOT}/{plural}"):
        if not is_due(thing):
            continue
        metadata = thing["metadata"]
        within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        try:
            do(api, thing, f"{ROOT}{within}/{plural}/{metadata['name']}")
        except requests.RequestException as error:  # gone, or changed again: the watch tells of it
            log.warning("%s: %s", metadata["name"], error)


def is_due(thing: Object) -> bool:
    """Whether an issuer or certificate has changed since its status was written."""
    metadata = thing["metadata"]
    conditions = thing.get("status", {}).get("conditions", ())
    seen = max((one.get("observedGeneration", 0) for one in conditions), default=0)
    return "deletionTimestamp" not in metadata and seen < metadata["generation"]


def status_of(thing: Object, reason: str, now: str) -> Object:
    """The status of an issuer or certificate, as a patch."""
    metadata = thing["metadata"]
    unready = metadata.get("annotations", {}).get(BEHAVE) == UNREADY
    ready = {
        "type": "Ready",
        "status": str(not unready),
        "reason": "Pending" if unready else reason,
        "message": "set by annotation" if unready else "simulated",
        "observedGeneration": metadata["generation"],
        "lastTransitionTime": now,
    }
    return {"status": {"conditions": [ready]}}


def _accept(api: Api, issuer: Object, path: str) -> None:
    api.patch(f"{path}/status", status_of(issuer, "ACMEAccountRegistered", _now()))


def _issue(api: Api, certificate: Object, path: str) -> None:
    status = status_of(certificate, "Ready", _now())
    spec, metadata = certificate["spec"], certificate["metadata"]
    if status["status"]["conditions"][0]["status"] == "True":
        secret = secret_of(spec["secretName"], [*spec.get("dnsNames", ())])
        api.create(f"/api/v1/namespaces/{metadata['namespace']}/secrets", secret)
    api.patch(f"{path}/status", status)


def secret_of(name: str, hosts: list[str]) -> Object:
    """The Secret of a certificate for these hosts."""
    from trustme import CA

    issued = CA().issue_cert(*hosts or [name])
    content = {"tls.crt": issued.cert_chain_pems[0], "tls.key": issued.private_key_pem}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
        "data": {key: base64.b64encode(value.bytes()).decode() for key, value in content.items()},
    }  # fmt: skip


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
