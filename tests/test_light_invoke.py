"""Invoke imported without what it loads and ./inv never uses, in processes of their own."""

import os
import subprocess
import sys

import pytest

from tests.builders import ROOT

# Where coverage is measured, it loads some of what is left out, before anything else.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}
LOADED = "from tasks import light_invoke; light_invoke.load(); import sys, invoke"


def printed(code: str) -> str:
    """What Python prints that loads Invoke lightly and then runs `code`."""
    argv = [sys.executable, "-c", f"{LOADED}\n{code}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT, env=ENVIRONMENT)
    return done.stdout.strip()


def test_it_leaves_out_what_is_not_used() -> None:
    heavy = ("unittest.mock", "asyncio", "importlib.metadata", "email.message", "invoke.vendor.yaml")
    put_off = ("ipaddress", "platform", "typing_extensions")
    code = (
        f"import urllib.parse, uuid, msgspec; print([name for name in {heavy} if name in sys.modules], "
        f"[name for name in {put_off} if not isinstance(sys.modules[name], light_invoke._Deferred)])"
    )
    assert printed(code) == "[] []"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from importlib.metadata import version; print(invoke.__version__ == version('invoke'))", "True"),
        ("print(hasattr(invoke, 'nothing'))", "False"),
        (
            "c = invoke.MockContext(run=invoke.Result('hi')); print(c.run('x').stdout, c.run.called)",
            "hi True",
        ),
        ("from unittest.mock import patch; print(patch.__module__)", "unittest.mock"),
        ("from invoke.vendor import yaml; print(yaml.__name__)", "invoke.vendor.yaml"),
        ("light_invoke.load(); print(invoke.task.__module__)", "invoke.tasks"),
        (
            "import platform; from platform import machine; "
            "print(machine() == platform.machine(), sys.modules['platform'].__file__[-11:])",
            "True platform.py",
        ),
        (
            "from urllib.parse import urlsplit as u; print(u('http://[::1]:80').hostname)",
            "::1",
        ),
        ("import typing_extensions as t; print(t.TypedDict.__module__)", "typing_extensions"),
        (
            "import yaml; print(yaml.safe_load('{a: 2026-01-02, b: 1.5, c: yes, d: 0x10, e: ~}'))",
            "{'a': datetime.date(2026, 1, 2), 'b': 1.5, 'c': True, 'd': 16, 'e': None}",
        ),
        ("import yaml; print(yaml.load('{b: 1.5, c: 12:30}', yaml.CSafeLoader))", "{'b': 1.5, 'c': 750}"),
        (
            "import yaml\ntry: yaml.safe_load('a: \\x01')\nexcept yaml.YAMLError as e: print(type(e).__name__)",
            "ReaderError",
        ),
        ("import re; print(re.compile('a').__class__.__name__)", "Pattern"),
        (
            "import copy, pickle, textwrap; one = textwrap.TextWrapper.wordsep_simple_re\n"
            "for two in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):\n"
            "    print(type(two).__name__, two.pattern == one.pattern, end=' ')",
            "Pattern True Pattern True Pattern True",
        ),
    ],
)
def test_what_is_asked_for_is_there(code: str, expected: str) -> None:
    assert printed(code) == expected


def test_a_stand_in_gives_way_to_the_module_where_more_is_asked_of_it() -> None:
    code = (
        "m = sys.modules['unittest.mock'] = light_invoke._Deferred('unittest.mock'); "
        "print(m.MagicMock.__name__, sys.modules['unittest.mock'] is m)"
    )
    assert printed(code) == "MagicMock False"
