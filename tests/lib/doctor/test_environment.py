"""What `doctor` finds in one environment, and the fix that it names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.lib.doctor import environment
from tasks.lib.doctor.environment import TO_UPLOAD
from tasks.lib.errors import Failure
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.kms_process import DEPLOYER, KmsProcess
from tests.lib.doctor.storage_server import TOKEN, StorageServer, serving
from tests.secrets_settings import sealed_checkout

BUCKET = "/storage/v1/b/archives-here"
GRANT = (
    "gcloud storage buckets add-iam-policy-binding gs://archives-here "
    "--member=user:YOU --role=roles/storage.objectUser"
)


@pytest.fixture
def storage() -> Iterator[StorageServer]:
    with serving() as server:
        server.answers = {
            f"{BUCKET}/o": (200, {"items": []}),
            f"{BUCKET}/iam/testPermissions": (200, {"permissions": list(TO_UPLOAD)}),
        }
        yield server


@pytest.fixture
def settings(storage: StorageServer, tmp_path: Path) -> Settings:
    return checked_in_settings(
        google={"storage": storage.url, "credentials_file": storage.key_file(tmp_path)},
        environments={
            "staging": {
                "buckets": {"archives": "archives-here"},
                "secrets": {"ciphertexts": str(tmp_path / "ciphertexts")},
            }
        },
        kustomize={"tree": str(tmp_path / "tree")},
    )


def problem_of_bucket(settings: Settings) -> Failure:
    with pytest.raises(Failure) as failure:
        environment.bucket(settings, settings.environment("staging"))
    return failure.value


def test_a_bucket_with_all_permissions_passes(settings: Settings, storage: StorageServer) -> None:
    assert environment.bucket(settings, settings.environment("staging")) == "gs://archives-here"

    asked = "&".join(f"permissions={one}" for one in TO_UPLOAD)
    assert storage.asked == [
        (f"{BUCKET}/o?maxResults=1", f"Bearer {TOKEN}"),
        (f"{BUCKET}/iam/testPermissions?{asked}", f"Bearer {TOKEN}"),
    ]


def test_missing_permissions_come_with_the_command_to_grant_them(
    settings: Settings, storage: StorageServer
) -> None:
    storage.answers[f"{BUCKET}/iam/testPermissions"] = (200, {"permissions": list(TO_UPLOAD[2:])})

    failure = problem_of_bucket(settings)

    assert failure.what == "Missing permission to upload to archives-here."
    assert failure.why == "Missing: storage.objects.create, storage.objects.delete."
    assert failure.next_step == GRANT


def test_a_bucket_without_permissions_lists_all_as_missing(
    settings: Settings, storage: StorageServer
) -> None:
    storage.answers[f"{BUCKET}/iam/testPermissions"] = (200, {})

    assert problem_of_bucket(settings).why == f"Missing: {', '.join(TO_UPLOAD)}."


def test_a_storage_emulator_without_permissions_passes(settings: Settings, storage: StorageServer) -> None:
    del storage.answers[f"{BUCKET}/iam/testPermissions"]

    assert environment.bucket(settings, settings.environment("staging")) == "gs://archives-here"


@pytest.mark.parametrize(
    ("status", "what", "why", "fix"),
    [
        (404, "There is no bucket archives-here.", "",
         "Fix environments.*.buckets.archives in invoke.yaml."),
        (403, "The bucket archives-here cannot be listed (HTTP 403).", "x" * 300, GRANT),
    ],
)  # fmt: skip
def test_a_bucket_that_cannot_be_listed_is_a_problem(
    settings: Settings, storage: StorageServer, status: int, what: str, why: str, fix: str
) -> None:
    storage.answers[f"{BUCKET}/o"] = (status, b"x" * 400)

    failure = problem_of_bucket(settings)

    assert (failure.what, failure.why, failure.next_step) == (what, why, fix)


@pytest.mark.parametrize("asked", ["o", "iam/testPermissions"])
@pytest.mark.parametrize("content", [b"<html>Log in to the hotel</html>", b"[]"], ids=["a page", "a list"])
def test_a_proxy_that_answers_for_the_bucket_is_a_problem(
    settings: Settings, storage: StorageServer, asked: str, content: bytes
) -> None:
    storage.answers[f"{BUCKET}/{asked}"] = (200, content)

    failure = problem_of_bucket(settings)

    assert failure.what == f"Cloud Storage at {storage.url} did not answer; something else did."
    assert content.decode() in failure.why
    assert "proxy" in failure.next_step


def test_a_missing_overlay_is_named(settings: Settings, tmp_path: Path) -> None:
    staging = settings.environment("staging")
    with pytest.raises(Failure) as failure:
        environment.manifests(settings, staging)
    assert failure.value.why == f"{tmp_path}/tree/overlays/staging is not a folder."
    assert failure.value.next_step == "Fix environments.staging.overlay."

    (tmp_path / "tree/overlays/staging").mkdir(parents=True)
    assert environment.manifests(settings, staging) == f"{tmp_path}/tree/overlays/staging"


def test_missing_encrypted_files_are_named(settings: Settings, tmp_path: Path) -> None:
    staging = settings.environment("staging")
    names = list(staging.secrets.files)
    folder = tmp_path / "ciphertexts"
    folder.mkdir()
    for name in names[1:]:
        (folder / f"{name}.enc").write_bytes(b"x")

    with pytest.raises(Failure) as failure:
        environment.encrypted_files(settings, staging)

    assert (
        failure.value.what
        == f"1 of {len(names)} encrypted files are missing; the owner of the key adds them."
    )
    assert failure.value.why == f"{folder}/{names[0]}.enc"
    (folder / f"{names[0]}.enc").write_bytes(b"x")
    assert environment.encrypted_files(settings, staging) == f"{len(names)} files"


def test_an_empty_file_or_a_folder_is_a_missing_file(settings: Settings, tmp_path: Path) -> None:
    staging = settings.environment("staging")
    folder = tmp_path / staging.secrets.ciphertexts
    folder.mkdir(parents=True)
    empty, in_the_way, *good = (folder / f"{name}.enc" for name in staging.secrets.files)
    empty.touch()
    in_the_way.mkdir()
    for path in good:
        path.write_bytes(b"x")

    with pytest.raises(Failure, match=r"2 of 4 encrypted files are missing"):
        environment.encrypted_files(settings, staging)


@pytest.mark.parametrize(
    ("refusal", "what", "command"),
    [
        (
            {"reason": "SERVICE_DISABLED", "metadata": {"consumer": "projects/777"},
             "message": "Cloud Key Management Service (KMS) API has not been used in project 777 before."},
            "The Cloud KMS API is not enabled in project 777.",
            "gcloud services enable cloudkms.googleapis.com --project 777",
        ),
        (
            {"reason": "SERVICE_DISABLED", "metadata": {"consumer": "projects/764086051850"},
             "message": "The cloudkms.googleapis.com API requires a quota project, which is not set by default."},
            "Your credentials name no quota project, and Cloud KMS wants one.",
            "gcloud auth application-default set-quota-project mit-lookit",
        ),
        (
            {"reason": "USER_PROJECT_DENIED", "metadata": {"consumer": "projects/mit-lookit"},
             "message": "Caller does not have required permission to use project mit-lookit."},
            "You may not charge quota to project mit-lookit.",
            f"gcloud projects add-iam-policy-binding mit-lookit --member=serviceAccount:{DEPLOYER} "
            "--role=roles/serviceusage.serviceUsageConsumer",
        ),
        (
            {"message": "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource 'x'."},
            "You may not decrypt with the key kubernetes-secrets, or there is no such key.",
            "gcloud kms keys add-iam-policy-binding kubernetes-secrets "
            f"--member=serviceAccount:{DEPLOYER} --role=roles/cloudkms.cryptoKeyDecrypter "
            "--keyring lookit-keyring --location us-east1 --project mit-lookit-keys",
        ),
    ],
    ids=["API disabled", "no quota project", "quota project not granted", "missing role"],
)  # fmt: skip
def test_refusals_of_kms_come_with_the_command_to_fix_them(
    kms: KmsProcess, tmp_path: Path, refusal: dict[str, object], what: str, command: str
) -> None:
    settings = sealed_checkout(kms, tmp_path)
    kms.set_faults({"rpc": "Decrypt", "code": "PERMISSION_DENIED", **refusal})

    with pytest.raises(Failure) as failure:
        environment.secrets_decrypt(settings, settings.environment("staging"))

    assert what in failure.value.why
    assert command in failure.value.next_step
