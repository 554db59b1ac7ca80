"""What a key's owner does with versions, against the sandbox's KMS."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.errors import NotPermitted
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess, make_key
from tests.secrets_settings import settings_for

serial = itertools.count()


@pytest.fixture
def owner(kms: KmsProcess, tmp_path: Path) -> Iterator[Kms]:
    with connected(settings_for(kms, tmp_path, KEY_OWNER)) as connection:
        yield connection


def test_a_new_version_is_the_primary_one(kms: KmsProcess, owner: Kms) -> None:
    key = make_key(kms, f"administration-{next(serial)}")
    made = owner.add_primary_version(key)
    assert made == owner.primary_version(key) == f"{key}/cryptoKeyVersions/2"


def test_replaced_versions_are_listed_whatever_the_size_of_pages(kms: KmsProcess, owner: Kms) -> None:
    key = make_key(kms, f"administration-{next(serial)}")
    client = kms.client()
    for _ in range(102):
        client.create_crypto_key_version(parent=key, crypto_key_version={})
    client.update_crypto_key_primary_version(name=key, crypto_key_version_id="102")
    client.update_crypto_key_version(
        crypto_key_version={"name": f"{key}/cryptoKeyVersions/9", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )

    replaced = owner.replaced_versions(key)

    assert replaced == [str(number) for number in range(1, 104) if number not in {9, 102}]


def test_making_a_version_is_never_tried_twice(kms: KmsProcess, owner: Kms) -> None:
    kms.set_faults({"rpc": "CreateCryptoKeyVersion", "code": "UNAVAILABLE", "message": "Away."})
    with pytest.raises(Failure, match="does not answer"):
        owner.add_primary_version(KEY)
    assert [call["rpc"] for call in kms.calls()] == ["CreateCryptoKeyVersion"]


def test_without_viewer_role_versions_are_unknown(kms: KmsProcess, tmp_path: Path) -> None:
    with connected(settings_for(kms, tmp_path, DEPLOYER)) as deployer:
        assert deployer.primary_version(KEY) == ""
        with pytest.raises(NotPermitted, match="You may not look at the key kubernetes-secrets"):
            deployer.replaced_versions(KEY)


def test_a_version_that_is_not_primary_comes_with_the_command(kms: KmsProcess, owner: Kms) -> None:
    key = make_key(kms, f"administration-{next(serial)}")
    kms.set_faults({"rpc": "UpdateCryptoKeyPrimaryVersion", "code": "ABORTED", "message": "Busy."})
    with pytest.raises(Failure) as failed:
        owner.add_primary_version(key)
    name = key.rsplit("/", 1)[1]
    assert failed.value.what == f"Version 2 of the key {name} was made, but does not encrypt yet."
    assert "ABORTED: Busy." in failed.value.why
    assert failed.value.next_step.startswith(
        f"The key's owner runs: gcloud kms keys set-primary-version {name} --version 2 --keyring lookit-keyring"
    )
