"""The application's side of the contract beside the manifests'."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.lib.errors import Failure, UsageError
from tasks.lib.image import contract
from tasks.lib.image.contract import Asked
from tests.builders import checked_in_settings

ROOT = Path(__file__).resolve().parents[3]
OWN = ROOT / "sandbox" / "application"


def checkout(folder: Path, settings: str, *, without: str = "") -> Path:
    for name in contract.FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    (folder / "project/settings.py").write_text(settings)
    if without:
        (folder / without).unlink()
    return folder


@pytest.fixture(scope="module", autouse=True)
def rendered_once() -> Iterator[None]:
    """All tests compare with the same manifests."""
    with pytest.MonkeyPatch.context() as patch:
        settings = checked_in_settings()
        containers = contract._containers(settings, settings.environment("staging"))
        patch.setattr(contract, "_containers", lambda *_: containers)
        yield


def compare(folder: Path) -> contract.Comparison:
    settings = checked_in_settings()
    return contract.compare(settings, settings.environment("staging"), folder)


def test_variables_are_found_however_they_are_read() -> None:
    text = (
        'a = os.environ["A"]\n'
        'b = os.environ.get("B", "")\n'
        'c = os.getenv("C")\n'
        'os.environ["WRITTEN"] = "1"\n'
        "d = os.environ[name]\n"
        'b = os.environ["B"]\n'
    )
    assert contract.variables_read({"x.py": ast.parse(text)}) == {
        "A": Asked("x.py:1", needed=True),
        "B": Asked("x.py:6", needed=True),
        "C": Asked("x.py:3", needed=False),
    }


def test_the_sandboxs_application_fits_the_manifests() -> None:
    found = compare(OWN)
    found.conclude()
    assert set(found.unset) == {"BROKER_URL", "GIT_COMMIT", "LOADS_WITH", "VERSION"}
    assert found.unserved == ()


def test_a_variable_that_is_needed_and_not_given_is_refused(tmp_path: Path) -> None:
    found = compare(checkout(tmp_path, 'NEW = os.environ["NEW_KEY"]\nOLD = os.environ["DB_HOST"]\n'))
    with pytest.raises(Failure) as refused:
        found.conclude()
    assert refused.value.why == "- It needs NEW_KEY (project/settings.py:1), which no container is given."


def test_what_the_image_sets_is_given(tmp_path: Path) -> None:
    folder = checkout(tmp_path, 'VERSION = os.environ["VERSION"] + os.environ["GIT_COMMIT"]\n')
    (folder / "Dockerfile").write_text("FROM x\nENV VERSION=${GIT_TAG} \\\n    GIT_COMMIT=${GIT_COMMIT}\n")
    assert compare(folder).unset == {}


def test_a_queue_that_no_worker_takes_from_is_refused(tmp_path: Path) -> None:
    routes = 'CELERY_TASK_ROUTES = {"a": {"queue": "email"}, "b": {"queue": "videos"}}\n'
    with pytest.raises(Failure) as refused:
        compare(checkout(tmp_path, routes)).conclude()
    assert refused.value.why == "- It sends tasks to the queue videos, which no worker takes from."


def test_what_the_manifests_run_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        compare(checkout(tmp_path, "", without="project/celery.py")).conclude()
    assert refused.value.why == "- The manifests run project/celery.py, which is not there."


def test_variables_that_nothing_reads_are_named(tmp_path: Path) -> None:
    unread = compare(checkout(tmp_path, 'os.environ.get("DB_HOST")\n')).unread
    assert "OSF_URL" in unread
    assert not {"DB_HOST", "DOCKER_HOST"} & set(unread)


def test_tests_and_hidden_folders_do_not_run_on_a_server(tmp_path: Path) -> None:
    folder = checkout(tmp_path, "")
    for name in ("tests/test_a.py", ".venv/b.py", "studies/tests.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text('os.environ["ONLY_IN_TESTS"]\n')
    assert compare(folder).unset == {}


def test_a_folder_without_python_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        compare(tmp_path)


def test_a_file_that_is_not_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="settings.py is not valid Python"):
        compare(checkout(tmp_path, "def:\n"))
