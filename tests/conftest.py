"""Fixtures that more than one folder of tests needs."""

import gc
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import debian, docker_services
from tests.clock import Clock, ThreadsClock
from tests.docker_services import RegistryProcess
from tests.kms_process import KmsProcess, make_key, running
from tests.program import Here

E2E = Path(__file__).parent / "e2e"
# Fixtures that start a server: what uses one is no fast test.
SERVICES = frozenset({"kms_server", "storage_server"})
# A busy machine, or a large example by chance, is no failure: by default 200 ms an example are too long.
# Each run draws other examples; LOOKIT_EXAMPLES=1000 draws that many at once.
settings.register_profile(
    "unhurried",
    settings(),
    max_examples=int(os.environ.get("LOOKIT_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Let processes that tests start hear SIGINT and SIGHUP, whatever this run was started with.

    A shell ignores SIGINT for what it starts in the background, and nohup ignores SIGHUP; what is ignored is
    inherited: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_11
    A handler is not, so this run itself goes on after a hang-up.
    """
    # The sandbox's servers last for one test run: with more room before each look for garbage, the API server
    # takes about a tenth less of the processor.  https://pkg.go.dev/runtime#hdr-Environment_Variables
    os.environ.setdefault("GOGC", "300")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests that need a service to the e2e session, wherever they stand, and all of tests/e2e.

    Long ones come first: begun last, each would keep one worker busy while the others have nothing left to do.
    LOOKIT_ORDER=SEED shuffles them, in every worker alike (tests/flaky.py).
    """
    for item in items:
        if SERVICES & set(getattr(item, "fixturenames", ())) or item.path.is_relative_to(E2E):
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if seed := os.environ.get("LOOKIT_ORDER"):
        random.Random(seed).shuffle(items)


def pytest_sessionfinish() -> None:
    """Look for garbage once: pytest and Python look again at each of their ends, through all there is."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def unsynced() -> Iterator[None]:
    """Have files that this process writes reach the disk in their own time: no test looks there after a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock to put in the place of a module's `time`; by it the main thread sleeps already."""
    made = Clock()
    monkeypatch.setattr("tasks.lib.signals.sleep", made.sleep)
    return made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """`./inv` and Invoke in this process."""
    return Here(monkeypatch, capsys)


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


@pytest.fixture
def kms_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of Cloud KMS's client: pauses between attempts take no time, and signing in may take long."""
    from google.api_core.retry import retry_base, retry_unary

    from tasks.lib.google.credentials import Tokens
    from tasks.lib.kms import client

    made = ThreadsClock()
    for module in (client, retry_base, retry_unary):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(client, "Tokens", lambda found, _seconds: Tokens(found))
    return made


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[None]:
    """A Docker engine with the base images for tests; DOCKER_HOST leads to it."""
    with docker_services.engine():
        docker_services.base_images()
        yield


@pytest.fixture(scope="session")
def shared_registry(docker_engine: None) -> Iterator[RegistryProcess]:
    """One registry for tests that push large layers, which it may have already: each takes a repository of its own."""
    with docker_services.kept_registry() as served:
        yield served


@pytest.fixture
def registry_process(
    docker_engine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryProcess]:
    """An empty registry of this test's own."""
    with docker_services.registry(tmp_path_factory.mktemp("registry")) as served:
        yield served


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium that runs headless."""
    installed = [found for name in ("chromium-browser", "google-chrome") if (found := shutil.which(name))]
    return installed[0] if installed else debian.require("chromium", "chromium")
