"""`./inv render` of Lookit's own tree against `kubectl kustomize` of the same tree, prepared beforehand.

Ours also starts Python, decrypts, fills in templates, reads every object and validates it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turns, machine, markdown
from tasks.lib.redaction import Secret
from tasks.lib.render.kustomize import build_argv, kubectl
from tasks.lib.secrets.crypt import encrypt_all
from tests.builders import ROOT
from tests.kms_process import DEPLOYER, KEY_OWNER, KmsProcess, make_key, running
from tests.kubernetes.rendering import prepared
from tests.secrets_settings import settings_for

SHA = "0123456789abcdef0123456789abcdef01234567"
# Where this is set, Python compiles our modules anew at every start, which no user's shell does.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main(rounds: int = 15) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "kms")) as kms:
        make_key(kms)
        tree = prepared("staging", Path(folder), SHA, "v1")
        environment = _sealed(kms, Path(folder), tree)
        theirs = build_argv(kubectl(settings_for(kms, ROOT)), tree / "overlays/staging")
        ours = [sys.executable, "-m", "tasks", "render", "--environment", "staging", "--commit", SHA]
        timings = in_turns(
            {
                "kubectl kustomize": lambda: _run(theirs, ENVIRONMENT),
                "./inv render": lambda: _run(ours, environment),
            },
            rounds,
        )
    sys.stdout.write(f"{machine()}\n\n{markdown('Rendering staging', timings)}\n")
    ratio = timings[1].median / timings[0].median
    sys.stdout.write(f"- {'kept' if ratio <= 1.6 else 'NOT KEPT'}: at most 1.6 times kubectl: {ratio:.2f}\n")


def _sealed(kms: KmsProcess, folder: Path, tree: Path) -> dict[str, str]:
    """Encrypt the plaintexts of a prepared tree; the variables that lead `./inv` to them."""
    owner = settings_for(kms, folder, KEY_OWNER)
    staging = owner.environment("staging")
    plaintexts = tree / staging.secrets.plaintexts
    encrypt_all(owner, staging, {n: Secret((plaintexts / n).read_bytes()) for n in staging.secrets.encrypted})
    return {
        **ENVIRONMENT,
        "INVOKE_GOOGLE_CREDENTIALS_FILE": str(kms.credentials_file(DEPLOYER)),
        "INVOKE_GOOGLE_CA_FILE": str(kms.ca_file),
        "INVOKE_GOOGLE_KMS": kms.host,
        "INVOKE_ENVIRONMENTS_STAGING_SECRETS_CIPHERTEXTS": str(folder / staging.secrets.ciphertexts),
    }


def _run(argv: "list[str] | tuple[str, ...]", environment: dict[str, str]) -> None:
    subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, check=True)


if __name__ == "__main__":
    main()
