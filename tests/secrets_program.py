"""The secrets' tasks as a person runs them, over a small checkout, with a running KMS."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import decrypt_all, encrypt_all
from tasks.lib.secrets.envelope import Form
from tasks.lib.settings.model import Settings
from tests.builders import ROOT
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess
from tests.program import Ended, Here
from tests.secrets_settings import settings_for

CANARY = "canary-in-the-coal-mine-4711"
FOLDER = "kubernetes/overlays/{}/secrets"
PLAINTEXTS = {
    "lookit-secrets.env": Secret(f"DB_HOST=db\nDB_PASSWORD={CANARY}\n".encode()),
    "lookit-rabbitmq.env": Secret(b"rabbitmq-erlang-cookie=biscuit-biscuit\n"),
    "googleAppCreds.json": Secret(b'{"type": "service_account", "private_key_id": "abcdefgh"}'),
    "cloudsql-client-creds.json": Secret(b'{"type": "service_account"}'),
}
# Long enough for a busy machine; a test of what hangs sets its own.
PATIENT = {"kms": "120s", "kms_attempt": "60s"}


@dataclass(frozen=True)
class Checkout:
    """A git repository with encrypted files for both environments, and the program to run over it.

    Args:
        kms: the server that has its key.
        root: its folder.
        key: what its files are encrypted with.
        here: runs the program in this process; None where a test only runs it in one of its own.

    """

    kms: KmsProcess
    root: Path
    key: str = KEY
    here: Here | None = None

    def with_key(self, key: str) -> "Checkout":
        """The same checkout, but the program is told another key."""
        return replace(self, key=key)

    def settings(self, email: str = DEPLOYER) -> Settings:
        """What the program is told, as settings."""
        keys = {"secrets": {"files": dict.fromkeys(PLAINTEXTS, self.key)}}
        environments = {"staging": keys, "production": keys}
        return settings_for(self.kms, self.root, email, environments=environments, time_limits=PATIENT)

    def seal(self, environment: str, plaintexts: dict[str, Secret], form: Form = Form.HEADED) -> None:
        """Encrypt, as the key owner."""
        owner = self.settings(KEY_OWNER)
        encrypt_all(owner, owner.environment(environment), plaintexts, form)

    def opened(self, environment: str = "staging") -> dict[str, Secret]:
        """Decrypt, as the deployer."""
        settings = self.settings()
        return decrypt_all(settings, settings.environment(environment))

    def encrypted(self, environment: str = "staging", name: str = "lookit-secrets.env") -> Path:
        """Where an encrypted file lies."""
        return self.root / FOLDER.format(environment) / f"{name}.enc"

    def everything(self) -> dict[Path, bytes]:
        """All encrypted files."""
        return {path: path.read_bytes() for path in self.root.rglob("*.enc")}

    def git(self, *arguments: str, **environ: str) -> str:
        """Run git in the checkout."""
        who = ["-c", "user.name=Key Owner", "-c", "user.email=owner@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, capture_output=True, text=True, check=True,
            env={**os.environ, **environ},
        )  # fmt: skip
        return done.stdout

    def variables(self) -> dict[str, str]:
        """The variables that lead the program here."""
        values = {
            "INVOKE_GOOGLE_CREDENTIALS_FILE": str(self.kms.credentials_file(DEPLOYER)),
            "INVOKE_GOOGLE_ENCRYPTER_CREDENTIALS_FILE": str(self.kms.credentials_file(KEY_OWNER)),
            "INVOKE_GOOGLE_CA_FILE": str(self.kms.ca_file),
            "INVOKE_GOOGLE_KMS": self.kms.host,
            "INVOKE_KUSTOMIZE_TREE": str(self.root / "kubernetes"),
            "INVOKE_TIME_LIMITS_KMS": "120s",
            "INVOKE_TIME_LIMITS_KMS_ATTEMPT": "60s",
        }
        for name in ("STAGING", "PRODUCTION"):
            folder = self.root / FOLDER.format(name.lower())
            values[f"INVOKE_ENVIRONMENTS_{name}_SECRETS_CIPHERTEXTS"] = str(folder)
        return values

    def environ(self, **more: str) -> dict[str, str]:
        """The whole environment of a process of its own."""
        return {**os.environ, **self.variables(), **more}

    def arguments(self, task: str, *arguments: str) -> list[str]:
        """What follows the program's name on the command line of a task."""
        configuration = self.root / "keys.yaml"
        files = "".join(f"        {name}: {self.key}\n" for name in PLAINTEXTS)
        section = f"    secrets:\n      files:\n{files}"
        configuration.write_text(f"environments:\n  staging:\n{section}  production:\n{section}")
        return ["-f", str(configuration), task, *arguments]

    def command(self, task: str, *arguments: str) -> list[str]:
        """The command line of a task in a process of its own."""
        return [sys.executable, "-m", "tasks", *self.arguments(task, *arguments)]

    def run(self, task: str, *arguments: str, stdin: str = "", **more: str) -> Ended:
        """Run a task to its end in this process; no value may show in what it prints to people."""
        assert self.here
        variables = {**self.variables(), **more}
        done = self.here.inv(*self.arguments(task, *arguments), stdin=stdin, **variables)
        assert CANARY not in done.stderr
        return done

    def run_apart(self, task: str, *arguments: str, **more: str) -> Ended:
        """The same in a process of its own, for what would not leave this one as it was."""
        done = subprocess.run(
            self.command(task, *arguments), cwd=ROOT, env=self.environ(**more), input="",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert CANARY not in done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)


def new_checkout(
    kms: KmsProcess,
    root: Path,
    key: str = KEY,
    here: Here | None = None,
    plaintexts: Mapping[str, Secret] = PLAINTEXTS,
) -> Checkout:
    """A checkout with one commit; those of the key that all share are copies of one."""
    checkout = Checkout(kms, root, key, here)
    if (key, plaintexts) != (KEY, PLAINTEXTS):
        _commit_sealed(checkout, plaintexts)
        return checkout
    sealed = kms.state.with_name(f"{kms.state.name}-checkout")
    if not sealed.exists():
        _commit_sealed(replace(checkout, root=sealed), plaintexts)
    shutil.copytree(sealed, root, dirs_exist_ok=True)
    return checkout


def _commit_sealed(checkout: Checkout, plaintexts: Mapping[str, Secret]) -> None:
    for environment in ("staging", "production"):
        checkout.seal(environment, dict(plaintexts))
        for name in ("lookit-secrets.env", "lookit-rabbitmq.env"):
            keys = [line.split("=")[0] + "=" for line in PLAINTEXTS[name].reveal().decode().splitlines()]
            folder = checkout.root / FOLDER.format(environment)
            (folder / f"{name}.expected").write_text("\n".join(keys) + "\n")
    (checkout.root / ".gitignore").write_text("*.env\n*.json\nkeys.yaml\n")
    checkout.git("init", "-q", "-b", "main")
    checkout.git("add", "-A")
    checkout.git("commit", "-q", "-m", "Add secrets")
