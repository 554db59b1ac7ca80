"""Decrypting secrets: ours against as many `gcloud kms decrypt` calls, from one and the same sandbox KMS.

gcloud speaks REST, so it asks tests/kms_rest.py, which hands its calls on; sops, from 3.13, speaks gRPC with
the address that SOPS_GCP_KMS_ENDPOINT names.  All get the same delay per call.  A deploy is one process, so
what decrypting adds to it is `decrypt_all`, measured in a process that has loaded nothing yet; the whole
command is shown beside it.

The criteria are printed with what was reached: three files decrypt in 1.2 times one call's latency, plus what
the start takes where there is none; and five times as fast as three times gcloud.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measure import in_turns, machine, markdown
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import encrypt_all
from tasks.lib.secrets.envelope import Form
from tests import kms_rest
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess, make_key, running
from tests.secrets_settings import settings_for

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
# A criterion turns on a difference of 10 ms, half of what rounds differ by themselves.
CLOSE_ROUNDS = 50
Case = tuple[int, float]  # files, and the seconds by which each call is late
CASES: tuple[Case, ...] = ((3, 0.0), (3, 0.05), (100, 0.0), (100, 0.05))
FEW = 3
COMMAND = "./inv decrypt, the whole command"
# Our modules are compiled anew at every start where this is set, which no user's shell does.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LIBRARY = """
import json, sys, time
from pathlib import Path
from tests.builders import settings_in
settings = settings_in(Path(sys.argv[1]), json.loads(sys.argv[2]))
for _ in range(2):
    started = time.perf_counter()
    from tasks.lib.secrets.crypt import decrypt_all
    decrypt_all(settings, settings.environment("bench"))
    print(time.perf_counter() - started)
"""


def main(
    cases: Sequence[Case] = CASES, rounds: tuple[int, int] = (ROUNDS, CLOSE_ROUNDS)
) -> None:  # fmt: skip
    """Measure and print."""
    sys.stdout.write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "kms")) as kms:
        make_key(kms)
        for files, delay in cases:
            kms.reset()
            root = Path(folder, f"{files}-{delay}")
            values = _values(kms, root, [f"file-{number}.env" for number in range(files)])
            _seal(kms, root, values)
            kms.set_faults({"rpc": "Decrypt", "delay": delay})
            sys.stdout.write(_compared(kms, root, values, delay, rounds))
            sys.stdout.flush()


def _values(kms: KmsProcess, root: Path, names: Sequence[str]) -> dict[str, Any]:
    """Settings with an environment `bench` whose secrets are `names`."""
    staging = yaml.safe_load((ROOT / "invoke.yaml").read_text())["environments"]["staging"]
    files = dict.fromkeys(names, KEY)
    secrets = {"ciphertexts": str(root), "plaintexts": "plain", "files": files, "release_key": ""}
    return {
        "google": {"credentials_file": str(_account(kms)), "ca_file": str(kms.ca_file), "kms": kms.host},
        "kustomize": {"tree": str(root)},
        "environments": {"bench": {**staging, "branch": "bench", "secrets": secrets}},
    }


def _account(kms: KmsProcess) -> Path:
    """The deployer's key file, with a key as long as Google's: examining it is a tenth of a command."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = json.loads(kms.credentials_file(DEPLOYER).read_text())
    path = kms.state / "deployer.json"
    path.write_text(json.dumps({**content, "private_key": pem.decode()}))
    return path


def _seal(kms: KmsProcess, root: Path, values: dict[str, Any]) -> None:
    """Encrypt 2 KiB for every file."""
    owner = settings_for(kms, root, KEY_OWNER, **{k: v for k, v in values.items() if k != "google"})
    environment = owner.environment("bench")
    plaintexts = {name: Secret(os.urandom(2048)) for name in environment.secrets.files}
    encrypt_all(owner, environment, plaintexts, Form.RAW)  # the form that gcloud knows


def _compared(
    kms: KmsProcess, root: Path, values: dict[str, Any], delay: float, rounds: tuple[int, int]
) -> str:  # fmt: skip
    """One table and what follows from it."""
    names = list(values["environments"]["bench"]["secrets"]["files"])
    alternatives: dict[str, Callable[[], object]] = {}
    if shutil.which("gcloud") and len(names) <= FEW:
        alternatives[f"{len(names)} times gcloud kms decrypt"] = lambda: _gcloud(kms, root, names)
    if shutil.which("sops") and len(names) <= FEW:
        _seal_for_sops(kms, root, names)
        alternatives[f"{len(names)} times sops decrypt"] = lambda: _sops(kms, root, names)
    alternatives[COMMAND] = lambda: _command(root, values)
    timings = in_turns(alternatives, rounds[0])
    is_close = bool(delay) and len(names) <= FEW
    first, again, undelayed = _libraries(kms, root, values, delay, rounds[is_close])
    lines = [
        markdown(f"Decrypting {len(names)} files, {delay * 1000:.0f} ms a call", timings),
        f"- `decrypt_all` in a process that has loaded nothing yet: {_spread(first)}",
        f"- the same once more in that process: {_spread(again)}",
    ]
    if is_close:
        allowed = 1.2 * delay + statistics.median(undelayed)
        lines.append(
            _criterion("one call's latency times 1.2, and start-up", allowed, statistics.median(first))
        )
    medians = {timing.name: timing.median for timing in timings}
    if gcloud := medians.get(f"{len(names)} times gcloud kms decrypt"):
        lines.append(
            _criterion("a fifth of gcloud's, for `decrypt_all`", gcloud / 5, statistics.median(first))
        )
        lines.append(_criterion("a fifth of gcloud's, for the whole command", gcloud / 5, medians[COMMAND]))
    return "\n".join(lines) + "\n\n"


def _libraries(
    kms: KmsProcess, root: Path, values: dict[str, Any], delay: float, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """`decrypt_all` in new processes: first, once more, and first when KMS answers at once; in turns."""
    delayed: list[tuple[float, float]] = []
    undelayed: list[tuple[float, float]] = []
    for number in range(rounds):
        for seconds, taken in ((delay, delayed), (0.0, undelayed))[:: 1 if number % 2 == 0 else -1]:
            kms.set_faults({"rpc": "Decrypt", "delay": seconds})
            taken.append(_library(root, values))
    return [first for first, _ in delayed], [again for _, again in delayed], [first for first, _ in undelayed]


def _criterion(name: str, allowed: float, taken: float) -> str:
    """A line that says whether a limit was kept."""
    verdict = "kept" if taken <= allowed else "NOT KEPT"
    return f"- {verdict}: {name}: at most {allowed:.3f} s; taken: {taken:.3f} s"


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f} s)"


def _gcloud(kms: KmsProcess, root: Path, names: Sequence[str]) -> None:
    with kms_rest.served(kms, DEPLOYER) as address:
        _gcloud_at(address, kms, root, names)


def _gcloud_at(address: str, kms: KmsProcess, root: Path, names: Sequence[str]) -> None:
    token = kms.state / "token"
    token.write_text(kms.token(DEPLOYER))
    environment = {
        **ENVIRONMENT, "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS": address,
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token), "CLOUDSDK_CONFIG": str(kms.state / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
    }  # fmt: skip
    for name in names:
        files = ["--ciphertext-file", str(root / f"{name}.enc"), "--plaintext-file", str(root / name)]
        command = ["gcloud", "kms", "decrypt", "--key", KEY, *files]
        subprocess.run(command, env=environment, capture_output=True, check=True)


def _seal_for_sops(kms: KmsProcess, root: Path, names: Sequence[str]) -> None:
    """The same plaintexts in sops' own form, under the same key."""
    for name in names:
        source = root / f"{name}.plain"
        source.write_bytes(os.urandom(2048))
        sealed = _run_sops(kms, KEY_OWNER, "encrypt", "--gcp-kms", KEY, "--input-type", "binary", str(source))
        (root / f"{name}.sops").write_bytes(sealed)


def _sops(kms: KmsProcess, root: Path, names: Sequence[str]) -> None:
    for name in names:
        _run_sops(
            kms,
            DEPLOYER,
            "decrypt",
            "--input-type",
            "binary",
            "--output-type",
            "binary",
            str(root / f"{name}.sops"),
        )


def _run_sops(kms: KmsProcess, email: str, *arguments: str) -> bytes:
    environment = {
        **ENVIRONMENT, "SOPS_GCP_KMS_ENDPOINT": kms.host, "SSL_CERT_FILE": str(kms.ca_file),
        "GOOGLE_OAUTH_ACCESS_TOKEN": kms.token(email),
    }  # fmt: skip
    return subprocess.run(["sops", *arguments], env=environment, capture_output=True, check=True).stdout


def _command(root: Path, values: dict[str, Any]) -> None:
    configuration = root / "bench.yaml"
    configuration.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "tasks", "-f", str(configuration), "decrypt", "--environment", "bench"]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)


def _library(root: Path, values: dict[str, Any]) -> tuple[float, float]:
    """Seconds that `decrypt_all` took in a new process, at first and once more."""
    command = [sys.executable, "-c", LIBRARY, str(root), json.dumps(values)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
    first, again = map(float, done.stdout.split())
    return first, again


if __name__ == "__main__":
    main()
