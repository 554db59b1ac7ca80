"""`./inv render` as a whole: the program, kustomize and KMS process, over Lookit's own tree."""

import base64
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import encrypt_all
from tests.builders import ROOT, invoke_yaml
from tests.kms_process import DEPLOYER, KEY_OWNER, KmsProcess
from tests.program import Ended, Here
from tests.secrets_settings import settings_for

SHA = "0123456789abcdef0123456789abcdef01234567"
CANARY = "canary-in-the-coal-mine"
PLAINTEXTS = {
    "lookit-secrets.env": Secret(f"DB_PASSWORD={CANARY}\nrabbitmq-password=squeak\n".encode()),
    "lookit-rabbitmq.env": Secret(b"rabbitmq-erlang-cookie=biscuit\n"),
    "googleAppCreds.json": Secret(b"{}\n"),
    "cloudsql-client-creds.json": Secret(b"{}\n"),
}


@pytest.fixture
def variables(kms: KmsProcess, tmp_path: Path) -> Mapping[str, str]:
    """What leads the tasks to the test's KMS and encrypted files."""
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    return {
        "INVOKE_GOOGLE_CREDENTIALS_FILE": str(kms.credentials_file(DEPLOYER)),
        "INVOKE_GOOGLE_CA_FILE": str(kms.ca_file),
        "INVOKE_GOOGLE_KMS": kms.host,
        "INVOKE_ENVIRONMENTS_STAGING_SECRETS_CIPHERTEXTS": str(
            tmp_path / owner.environment("staging").secrets.ciphertexts
        ),
    }


@pytest.fixture
def render(here: Here, variables: Mapping[str, str]) -> Callable[..., Ended]:
    """Runs the task in this process."""
    return lambda *options: here.inv(*_words(*options), **variables)


def _words(*options: str) -> list[str]:
    commit = () if "--commit" in options else ("--commit", SHA)
    return ["render", "--environment", "staging", *commit, *options]


def _argv(*options: str) -> list[str]:
    """The same in a process of its own."""
    return [sys.executable, "-m", "tasks", *_words(*options)]


def test_an_environment_without_secrets_needs_no_credentials(here: Here, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\n")
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    staging = invoke_yaml()["environments"]["staging"]
    lab = {**staging, "branch": "lab", "overlay": ".", "secrets": {**staging["secrets"], "files": {}}}
    settings = {"kustomize": {"tree": str(tmp_path)}, "environments": {"lab": lab}}
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(settings))
    variables = {"INVOKE_GOOGLE_CREDENTIALS_FILE": str(tmp_path / "absent.json")}

    done = here.inv(
        "-f",
        str(tmp_path / "lab.yaml"),
        "render",
        "--environment",
        "lab",
        "--commit",
        SHA,
        "--tag",
        "v1",
        **variables,
    )

    assert (done.code, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["metadata"] == {"name": "a"}


def test_a_pipe_gets_the_whole_environment_twice_the_same(
    render: Callable[..., Ended], variables: Mapping[str, str]
) -> None:
    first = render("--tag", "v1.2")
    with subprocess.Popen(
        _argv("--tag", "v1.2"), cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE
    ) as second:
        assert second.stdout
        piped = second.stdout.read().decode()

    assert (first.code, second.returncode) == (0, 0), first.stderr
    assert first.stdout == piped
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(first.stdout)}
    web = objects["Deployment", "staging-web"]["spec"]["template"]
    assert web["spec"]["containers"][0]["image"] == f"gcr.io/mit-lookit/lookit:{SHA}"
    assert web["metadata"]["labels"]["app.kubernetes.io/version"] == "v1.2"
    assert web["metadata"]["labels"]["app.kubernetes.io/instance"] == "lookit-0123456"
    secret = next(o for (kind, name), o in objects.items() if kind == "Secret" and "lookit-secrets" in name)
    assert base64.b64decode(secret["data"]["DB_PASSWORD"]).decode() == CANARY
    assert first.stderr == "not checked, no published schema: ClusterIssuer (cert-manager.io/v1)\n"


def test_a_terminal_sees_no_secrets(variables: Mapping[str, str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        _argv(), cwd=ROOT, env={**os.environ, **variables}, stdout=theirs, stderr=subprocess.PIPE
    ) as child:
        os.close(theirs)
        shown = _read_all(ours)
        assert child.wait(60) == 0

    assert base64.b64encode(CANARY.encode()) not in shown
    assert b"[redacted]" in shown


def test_a_terminal_sees_secrets_when_asked(
    render: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    shown = render("--show-secrets").stdout

    assert base64.b64encode(CANARY.encode()).decode() in shown
    assert "[redacted]" not in shown


def test_a_folder_gets_one_private_file_an_object(render: Callable[..., Ended], tmp_path: Path) -> None:
    done = render("--out", str(tmp_path / "out"))

    assert (done.code, done.stdout) == (0, ""), done.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"deployment-staging-web.yaml", "job-staging-migration.yaml", "service-builder.yaml"} <= written
    assert f"{len(written)} files written" in done.stderr


def test_a_short_commit_is_refused_before_anything_is_decrypted(
    kms: KmsProcess, render: Callable[..., Ended]
) -> None:
    done = render("--commit", "abc123")

    assert (done.code, done.stdout) == (2, "")
    assert "COMMIT_SHA is 'abc123', but should be the full commit SHA" in done.stderr
    assert [call for call in kms.calls() if "Decrypt" in str(call)] == []


def _read_all(descriptor: int) -> bytes:
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux's way to say that the other end of a terminal is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(descriptor)
    return b"".join(chunks)
