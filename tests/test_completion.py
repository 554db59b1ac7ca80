"""Completion: what each shell suggests at a Tab, by the scripts that ./inv prints."""

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable

import pytest
from invoke import Collection, Config, Context

from tasks.completion import SCRIPTS, candidates, script, words_of
from tests.builders import ROOT
from tests.program import Here

ASK = {
    "bash": """
        source {script}
        COMP_WORDS=({words} {quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _lookit_orchestrator {program} {quoted}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "fish": "source {script}; complete --do-complete '{line}'",
}
Ask = Callable[[str], list[str]]
Complete = Callable[..., list[str]]
INSTALLED = [shell for shell in ASK if shutil.which(shell)]


@pytest.fixture(scope="module")
def namespace() -> Collection:
    found: Collection = runpy.run_path(str(ROOT / "tasks.py"))["namespace"]
    return found


@pytest.fixture
def complete(namespace: Collection) -> Complete:
    """What is suggested for a line of these words, without a shell."""
    config = Config(project_location=ROOT)
    config.load_project()
    return lambda *typed: candidates(["./inv", *typed], namespace, Context(config))


@pytest.fixture(scope="module", params=INSTALLED)
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Type a line in a shell, press Tab, and read what it suggests."""
    shell, home = request.param, tmp_path_factory.mktemp(request.param)
    printed = home / "script"
    printed.write_text(script(shell))

    def typed(line: str) -> list[str]:
        *words, current = line.split(" ")
        body = ASK[shell].format(
            script=printed, line=line, words=" ".join(words), program=words[0], quoted=f"'{current}'"
        )
        done = subprocess.run(
            [shell, "-c", body], cwd=ROOT, env={**os.environ, "HOME": str(home)}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return done.stdout.split()

    return typed


def test_a_shell_suggests_environments(ask: Ask) -> None:
    assert ask("./inv render --environment ") == ["production", "staging"]


def test_a_shell_suggests_what_begins_as_typed(ask: Ask) -> None:
    assert ask("./inv deploy --branch m") == ["master"]


def test_tasks_come_first(complete: Complete) -> None:
    assert {"deploy", "release.rollback", "pipeline"} <= set(complete(""))


def test_short_options_have_values_too(complete: Complete) -> None:
    assert complete("render", "-e", "") == ["production", "staging"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("./inv deploy --branch = ma", ["./inv", "deploy", "--branch", "ma"]),  # as bash splits --branch=ma
        ("./inv deploy --branch ", ["./inv", "deploy", "--branch", ""]),
        ("./inv deploy 'open quote", [""]),
    ],
)
def test_the_word_that_is_typed_is_the_last(line: str, words: list[str]) -> None:
    assert words_of(line) == words


def test_options_already_given_are_left_out(complete: Complete) -> None:
    left = complete("deploy", "--no-wait", "--branch", "develop", "--")

    assert {"--commit", "--plan", "--help"} <= set(left)
    assert not {"--wait", "--no-wait", "--branch"} & set(left)


def test_add_ons_are_known(complete: Complete) -> None:
    assert complete("cluster.addons", "--addon", "") == ["cert-manager", "ingress-nginx"]


def test_secret_files_of_the_environment_are_known(complete: Complete) -> None:
    assert "lookit-secrets.env" in complete("secrets.set", "-e", "staging", "--file", "")
    assert complete("secrets.set", "-e", "nowhere", "--file", "") == []


def test_an_option_may_be_left_out(here: Here) -> None:
    suggested = here.inv("--complete", "--", "./inv", "secrets.log", "")

    assert "lookit-secrets.env" in suggested.stdout.splitlines()


def test_releases_without_a_cluster_are_none(complete: Complete) -> None:
    assert complete("release.rollback", "--to", "") == []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_of_each_shell_is_printed(here: Here, shell: str) -> None:
    done = here.inv("--print-completion-script", shell)

    assert (done.code, done.stdout, done.stderr) == (0, script(shell), "")


def test_an_unknown_shell_is_refused_with_the_known_ones(here: Here) -> None:
    done = here.inv("--print-completion-script", "tcsh")

    assert (done.code, done.stdout) == (2, "")
    assert "bash, zsh, fish" in done.stderr
