"""Fixtures that more than one folder of tests needs."""

from collections.abc import Iterator

import pytest

from tests.kms_process import KmsProcess, make_key, running


@pytest.fixture(scope="session")
def kms_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsProcess]:
    """The sandbox's KMS as a process, with the key kubernetes-secrets."""
    with running(tmp_path_factory.mktemp("kms")) as kms:
        make_key(kms)
        yield kms


@pytest.fixture
def kms(kms_server: KmsProcess) -> Iterator[KmsProcess]:
    """The same server, without faults, with the default policy and an empty log."""
    kms_server.reset()
    yield kms_server
    kms_server.reset()
