"""The namespace as Invoke loads it, and what every task promises."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Exit

from tasks import cli
from tasks.__main__ import task_to_explain, with_left_out_names
from tests.program import Here, loaded, task_names

ROOT = Path(__file__).resolve().parents[1]
# Modules of tasks/ that hold no task.
NOT_TASKS = {"__init__", "__main__", "cli", "completion"}


def test_every_module_of_tasks_is_wired() -> None:
    source = (ROOT / "tasks.py").read_text()
    first_words = {name.partition(".")[0] for name in task_names()}

    for module in (ROOT / "tasks").glob("*.py"):
        if module.stem not in NOT_TASKS:
            assert module.stem in source, f"tasks.py does not import {module.stem}"
            assert module.stem.replace("_", "-") in first_words, (
                f"no task or collection is called {module.stem}"
            )


def test_the_list_shows_every_task(here: Here) -> None:
    listed = here.inv("--list", "--list-format=flat").stdout

    assert set(re.findall(r"^  ([a-z][\w.-]*)", listed, re.MULTILINE)) == task_names()


def test_the_file_lends_itself_the_folder() -> None:
    """`tasks` is the file when Invoke loads it, and `tasks.settings` still the folder's module."""
    assert loaded()["file"] == str(ROOT / "tasks.py")
    assert loaded()["settings"] == str(ROOT / "tasks" / "settings.py")


def test_a_failure_prints_to_stderr_with_an_exit_code(here: Here) -> None:
    done = here.plain("settings", "--environment", "qa")

    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == (
        "There is no environment 'qa'.\n  why:  Known environments: staging, production.\n"
        "  next: Name one, for example --environment staging.\n"
    )


def test_settings_say_where_each_value_came_from(here: Here) -> None:
    done = here.plain("settings", "--environment", "staging", INVOKE_ENVIRONMENTS_STAGING_CLUSTER="other")

    assert done.code == 0
    rows = {line.split()[0]: re.split("  +", line)[1:] for line in done.stdout.splitlines()}
    assert rows["environments.staging.cluster"] == ["INVOKE_ variable", '"other"']
    assert rows["environments.staging.branch"] == ["invoke.yaml", '"develop"']
    assert "environments.production.branch" not in rows


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"INVOKE_TIME_LIMITS_KMS": "soon"}, "time_limits.kms is 'soon'"),
        ({"INVOKE_RUN_ECHO_FORMAT": "", "INVOKE_TIMEOUTS_COMMAND": ""}, ""),
        ({"INVOKE_RUN_WATCHERS": "x"}, "An INVOKE_ environment variable has a value of the wrong type."),
        ({"INVOKE_DEPLOY_PRUNE": "false"}, "INVOKE_DEPLOY_PRUNE is 'false', but should be 1 or 0."),
    ],
    ids=["ours", "Invoke's own", "not convertible", "no switch"],
)
def test_a_variable_of_the_wrong_type_is_bad_usage(
    here: Here, variables: dict[str, str], message: str
) -> None:
    done = here.plain("settings", **variables)

    assert done.code == (2 if message else 0)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("said", "sandbox"),
    [("", False), ("0", False), ("false", False), ("False", False), ("1", True), ("true", True)],
)
def test_a_variable_asks_for_the_sandbox_or_does_not(
    monkeypatch: pytest.MonkeyPatch, said: str, *, sandbox: bool
) -> None:
    monkeypatch.setenv("LOOKIT_SANDBOX", said)

    assert cli._sandbox_variable() is sandbox


@pytest.mark.parametrize(("said", "sandbox"), [("0", False), ("1", True)])
def test_a_task_goes_where_the_variable_says(here: Here, tmp_path: Path, said: str, *, sandbox: bool) -> None:
    done = here.plain("settings", LOOKIT_SANDBOX=said, INVOKE_SANDBOX_STATE=str(tmp_path))

    assert done.code == (1 if sandbox else 0)
    assert ("sandbox.up" in done.stderr) == sandbox


def test_a_variable_that_says_neither_is_bad_usage(here: Here) -> None:
    done = here.plain("settings", LOOKIT_SANDBOX="off")

    assert done.code == 2
    assert done.stderr == "LOOKIT_SANDBOX is 'off', but should be 1 or 0.\n"


def test_a_letter_means_the_same_whatever_the_task(here: Here) -> None:
    """Invoke gives letters out by order: `-s` was --sandbox in most tasks and --show-secrets in render."""
    namespace = here.namespace()

    meant = {
        (name, argument.name)
        for task in namespace.task_names
        for argument in namespace[task].get_arguments()
        for name in argument.names
        if len(name) == 1
    }

    assert meant <= {(letter, option) for option, letter in cli.LETTERS.items()}
    assert {("s", "sandbox"), ("e", "environment"), ("j", "json")} <= meant


def test_every_task_takes_sandbox() -> None:
    for name, task in loaded()["tasks"].items():
        assert "sandbox" in task["options"], name
        assert (task["doc"] or "").strip(), name
        for option, meaning in task["options"].items():
            assert meaning, f"{name} --{option} has no help"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("nosuch",), "Unknown task 'nosuch'."),
        (("settings", "--colour"), "Unknown option '--colour'."),
        (("settings", "--environment"), "needed value and was not given one"),
        (("--nope",), "Unknown option '--nope'."),
        (("--help", "nosuch"), "Unknown task 'nosuch'."),
        (("--list", "nosuch"), "Sub-collection 'nosuch' not found!"),
        (("images.prune", "--keep", "abc"), "An option has the value 'abc', but should be a whole number."),
        (("render",), "The task render needs --environment."),
    ],
    ids=["task", "option", "missing value", "core option", "help", "list", "no number", "missing option"],
)
def test_a_wrong_command_line_is_wrong_usage(here: Here, argv: tuple[str, ...], said: str) -> None:
    done = here.inv(*argv)

    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "`./inv --list` shows the tasks" in done.stderr


def test_without_a_task_the_tasks_are_listed(here: Here) -> None:
    done = here.inv()

    assert (done.code, done.stderr) == (0, "")
    assert "  deploy  " in done.stdout
    assert done.stdout.endswith("`./inv --help` the options of Invoke itself.\n")


def test_an_invalid_release_number_is_wrong_usage(here: Here) -> None:
    done = here.inv("release.show", "abc")

    assert (done.code, done.stdout) == (2, "")
    assert "abc is not the number of a release." in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.yaml", None, "is not a settings file."),
        ("notes.md", "kms: {}", "is not a settings file."),
        ("twice.yml", "kms: {project: a, project: b}", "project is given twice"),
        ("twice.yaml", "kms: {project: a, project: b}", "project is given twice"),
        ("broken.json", "{", "Expecting property name"),
        ("hollow.yaml", "run:", "Two sources of settings cannot be merged"),
        ("upper.yaml", "Image: {repository: x}", "Found >1 source for IMAGE_REPOSITORY"),
        ("hollow.yaml", "kms:", "- kms is None, but should be a section with keys."),
    ],
)
def test_an_unreadable_settings_file_is_wrong_usage(
    here: Here, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = here.inv("-f", str(tmp_path / name), "settings")

    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There are no settings: "),
        ("kms: {project: a, project: b}", "project is given twice"),
        ("kms: [", "cannot be read"),
        ("- kms", "It holds a list, not sections with keys."),
        ("# nothing\n", "is empty"),
    ],
    ids=["missing", "twice", "no YAML", "a list", "empty"],
)
def test_plain_invoke_refuses_an_unreadable_invoke_yaml(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "invoke.yaml").write_text(content)

    with pytest.raises(Exit, match=re.escape(said)) as ended:
        cli.refuse_unreadable_settings(tmp_path)

    assert ended.value.code == 2
    assert str(tmp_path / "invoke.yaml") in str(ended.value)


def test_plain_invoke_looks_at_invoke_yaml_before_it_reads_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tasks.py", tmp_path)
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    (tmp_path / "invoke.yaml").write_text("kms: [")
    argv = [sys.executable, "-m", "invoke", "--list"]

    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"The settings in {tmp_path / 'invoke.yaml'} cannot be read." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.yaml", None, "is not a settings file."),
        ("broken.yaml", "kms: [", "cannot be read"),
        ("empty.yaml", "", "is empty"),
        ("twice.yaml", "kms: {project: a, project: b}", "project is given twice"),
        ("hollow.yaml", "kms:", "- kms is None, but should be a section with keys."),
    ],
    ids=["missing", "no YAML", "empty", "twice", "an empty section"],
)
def test_plain_invoke_refuses_what_it_cannot_read_of_an_f(
    here: Here, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)

    done = here.plain("-f", str(file), "settings")

    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("content", "said"), [("", "is empty"), ("kms: {}\nkms: {}", "kms is given twice")])
def test_plain_invoke_refuses_what_a_variable_names_too(
    here: Here, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "own.yaml").write_text(content)

    done = here.plain("settings", INVOKE_RUNTIME_CONFIG=str(tmp_path / "own.yaml"))

    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("program", "closed", "code", "said"),
    [
        ("tasks", "<&-", 2, "No value was given for SENDGRID_API_KEY"),
        ("tasks", "<&- >&- 2>&-", 2, ""),
        ("invoke", "<&- >&- 2>&-", 2, ""),
    ],
)
def test_a_closed_stream_is_the_null_device(program: str, closed: str, code: int, said: str) -> None:
    command = f"{sys.executable} -m {program} secrets.set SENDGRID_API_KEY --environment staging </dev/null"
    argv = ["sh", "-c", f"{command} {closed}"]

    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stdout_takes_data_in_silence() -> None:
    argv = ["sh", "-c", f"{sys.executable} -m tasks settings >&-"]

    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_typed_path_starts_where_the_person_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.absolute("here") == str(tmp_path / "here")
    assert (cli.absolute("/there"), cli.absolute("")) == ("/there", "")


def test_the_version_is_the_project_s_own(here: Here) -> None:
    assert here.inv("--version").stdout.startswith("lookit-orchestrator 1.")


FULL_DISK = "a file or folder cannot be written.\n  why:  No space left on device."


def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        started = [sys.executable, "-m", "tasks", "settings"]
        done = subprocess.run(started, check=False, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith(FULL_DISK)


def test_a_full_disk_is_told_where_invoke_prints(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        done = here.inv("--list")

    assert done.code == 1
    assert done.stderr.startswith(FULL_DISK)


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("render --help", "render"),
        ("render -h", "render"),
        ("release.diff 1 2 --help", "release.diff"),
        ("secrets.log a.env --help", "secrets.log"),
        ("settings render --help", "render"),
        ("deploy --help", "deploy"),
        ("deploy -h --branch x", "deploy"),
        ("render --commit -h", ""),
    ],
)
def test_help_works_anywhere_after_a_task(words: str, task: str) -> None:
    names = {"render", "release.diff", "secrets.log", "settings", "deploy"}
    assert task_to_explain(words.split(), names) == task


def test_help_of_a_task_shows_how_it_is_called(here: Here) -> None:
    done = here.inv("release.diff", "1", "2", "--help")

    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ./inv [--core-opts] release.diff ")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    script = f"{sys.executable} -m tasks settings --json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode in {0, 141}
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        (["secrets.log", "a.env", "-e", "x"], ["secrets.log", "--file", "a.env", "-e", "x"]),
        (["secrets.log", "--file", "a.env"], ["secrets.log", "--file", "a.env"]),
        (["secrets.log", "settings"], ["secrets.log", "settings"]),
        (["settings", "word"], ["settings", "word"]),
        (["release.diff", "1", "2", "3"], ["release.diff", "--before", "1", "--after", "2", "3"]),
        (
            ["app.restart", "a", "b", "-e", "x"],
            ["app.restart", "--workload", "a", "--workload", "b", "-e", "x"],
        ),
        (["release.diff", "1", "-e", "x"], ["release.diff", "--before", "1", "-e", "x"]),
        ([], []),
    ],
    ids=[
        "left out",
        "said",
        "next is a task",
        "task without such an option",
        "two",
        "as many as there are",
        "one of two",
        "nothing",
    ],
)
def test_an_option_s_name_may_be_left_out(words: list[str], understood: list[str]) -> None:
    names = {
        "secrets.log": "file",
        "settings": "",
        "release.diff": "before after",
        "app.restart": "workload*",
    }
    assert with_left_out_names(words, names) == understood
