"""What each answer of Cloud KMS is turned into: exact messages."""

import pytest

from tasks.lib.kms.errors import Call, Problem, damaged, explain

RING = "projects/mit-lookit-keys/locations/us-east1/keyRings/lookit-keyring"
KEY = f"{RING}/cryptoKeys/kubernetes-secrets"
VERSION = f"{KEY}/cryptoKeyVersions/3"
WHERE = "--keyring lookit-keyring --location us-east1 --project mit-lookit-keys"
MEMBER = "serviceAccount:deployer@p.iam.gserviceaccount.com"
CALL = Call("decrypt with", KEY, "cloudkms.googleapis.com", MEMBER, "mit-lookit")
DENIED = (
    f"Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource '{KEY}' (or it may not exist)."
)
DISABLED_API = (
    "Cloud Key Management Service (KMS) API has not been used in project 12345 before or it is disabled."
)
QUOTA_PROJECT = (
    "Your application is authenticating by using local Application Default Credentials. "
    "The cloudkms.googleapis.com API requires a quota project, which is not set by default."
)
KEY_S_API = (
    "Google Cloud KMS API has not been used in this project before, or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/cloudkms.googleapis.com/overview?project=1075231961184 then retry. "
    "If you enabled this API recently, wait a few minutes."
)
NO_SERVICE_USE = "Caller does not have required permission to use project mit-lookit."


@pytest.mark.parametrize(
    ("problem", "what", "next_step"),
    [
        (
            Problem("PERMISSION_DENIED", DENIED),
            "You may not decrypt with the key kubernetes-secrets, or there is no such key.",
            "The key's owner runs: gcloud kms keys add-iam-policy-binding kubernetes-secrets "
            f"--member={MEMBER} --role=roles/cloudkms.cryptoKeyDecrypter {WHERE}",
        ),
        (
            Problem("PERMISSION_DENIED", DISABLED_API, "SERVICE_DISABLED", {"consumer": "projects/12345"}),
            "The Cloud KMS API is not enabled in project 12345.",
            "gcloud services enable cloudkms.googleapis.com --project 12345",
        ),
        (
            Problem("PERMISSION_DENIED", DISABLED_API),
            "The Cloud KMS API is not enabled in project 12345.",
            "gcloud services enable cloudkms.googleapis.com --project 12345",
        ),
        (
            Problem("FAILED_PRECONDITION", KEY_S_API),
            "The Cloud KMS API is not enabled in project 1075231961184.",
            "gcloud services enable cloudkms.googleapis.com --project 1075231961184",
        ),
        (
            Problem(
                "PERMISSION_DENIED", QUOTA_PROJECT, "SERVICE_DISABLED", {"consumer": "projects/764086051850"}
            ),
            "Your credentials name no quota project, and Cloud KMS wants one.",
            "gcloud auth application-default set-quota-project mit-lookit\n"
            "or set google.quota_project in invoke.yaml, or INVOKE_GOOGLE_QUOTA_PROJECT.",
        ),
        (
            Problem(
                "PERMISSION_DENIED",
                NO_SERVICE_USE,
                "USER_PROJECT_DENIED",
                {"consumer": "projects/mit-lookit"},
            ),
            "You may not charge quota to project mit-lookit.",
            f"gcloud projects add-iam-policy-binding mit-lookit --member={MEMBER} "
            "--role=roles/serviceusage.serviceUsageConsumer",
        ),
        (
            Problem("PERMISSION_DENIED", NO_SERVICE_USE),
            "You may not charge quota to project mit-lookit.",
            f"gcloud projects add-iam-policy-binding mit-lookit --member={MEMBER} "
            "--role=roles/serviceusage.serviceUsageConsumer",
        ),
        (
            Problem("FAILED_PRECONDITION", f"{VERSION} is not enabled, current state is: DISABLED."),
            "Version 3 of the key kubernetes-secrets is disabled.",
            "If it was disabled by mistake, the key's owner runs: "
            f"gcloud kms keys versions enable 3 --key kubernetes-secrets {WHERE}",
        ),
        (
            Problem("FAILED_PRECONDITION", f"{VERSION} is not enabled, current state is: DESTROY_SCHEDULED."),
            "Version 3 of the key kubernetes-secrets is scheduled for destruction.",
            f"The key's owner runs: gcloud kms keys versions restore 3 --key kubernetes-secrets {WHERE}\n"
            f"and then: gcloud kms keys versions enable 3 --key kubernetes-secrets {WHERE}",
        ),
        (
            Problem("FAILED_PRECONDITION", f"{VERSION} is not enabled, current state is: DESTROYED."),
            "Version 3 of the key kubernetes-secrets is destroyed for good.",
            "It cannot be restored: the key's owner has to encrypt the file again (./inv secrets.encrypt).",
        ),
        (
            Problem(
                "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey."
            ),
            "It was encrypted with another key than kubernetes-secrets, or its beginning is damaged.",
            "Name the file's own key in invoke.yaml (environments.….secrets.files), put back the last\n"
            "good file (git checkout -- FILE), or have the key's owner encrypt it again.",
        ),
        (
            Problem("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."),
            "The encrypted file is damaged, or not a ciphertext of Cloud KMS.",
            "Put back the last good one (git checkout -- FILE), or have the key's owner encrypt it again.",
        ),
        (
            Problem("INVALID_ARGUMENT", "Resource name 'x' does not match pattern 'y'."),
            "Cloud KMS refused the request to decrypt with kubernetes-secrets.",
            "Compare kms.* and environments.….secrets.files with invoke.yaml's comments: ./inv settings",
        ),
        (
            Problem("NOT_FOUND", f"CryptoKey {KEY} not found."),
            "The key kubernetes-secrets does not exist.",
            f"Compare with the keys there are: gcloud kms keys list {WHERE}",
        ),
        (
            Problem("UNAUTHENTICATED", "Request had invalid authentication credentials."),
            "Google does not accept your credentials.",
            "Run `gcloud auth application-default login`, or check what google.credentials_file points at.",
        ),
        (
            Problem("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic requests'."),
            "The quota of Cloud KMS is used up for this minute.",
            "Wait a minute and try again; https://console.cloud.google.com/iam-admin/quotas shows the limits.",
        ),
        (
            Problem("UNAVAILABLE", "failed to connect to all addresses"),
            "Cloud KMS does not answer at cloudkms.googleapis.com.",
            "Check the network, a proxy or VPN and google.kms in the settings; ./inv doctor tells more.",
        ),
        (
            Problem("DEADLINE_EXCEEDED", "Deadline Exceeded"),
            "Cloud KMS does not answer at cloudkms.googleapis.com.",
            "Check the network, a proxy or VPN and google.kms in the settings; ./inv doctor tells more.",
        ),
    ],
    ids=lambda value: (
        f"{value.code}-{value.reason or value.message[-24:]}" if isinstance(value, Problem) else ""
    ),
)
def test_every_problem_says_what_broke_and_what_to_do(problem: Problem, what: str, next_step: str) -> None:
    failure = explain(CALL, problem)
    assert (failure.what, failure.why.endswith(problem.message) or KEY in failure.why) == (what, True)
    assert failure.next_step == next_step
    assert failure.exit_code == 1


def test_an_unknown_code_is_shown_as_it_came() -> None:
    failure = explain(CALL, Problem("DATA_LOSS", "Something else."))
    assert failure.what == "Cloud KMS could not decrypt with the key kubernetes-secrets."
    assert failure.why == "DATA_LOSS: Something else."


def test_a_command_for_an_unknown_caller_has_a_placeholder() -> None:
    failure = explain(
        Call("encrypt with", KEY, "host"), Problem("PERMISSION_DENIED", DENIED.replace("De", "En"))
    )
    assert "--member=user:YOU@example.org --role=roles/cloudkms.cryptoKeyEncrypter" in failure.next_step


def test_damage_on_the_way_names_the_host_and_the_checksum() -> None:
    failure = damaged(CALL, "The plaintext that came back does not match its checksum")
    assert failure.what == "Bytes were damaged between here and Cloud KMS (cloudkms.googleapis.com)."
    assert failure.why == "The plaintext that came back does not match its checksum, in every attempt."
