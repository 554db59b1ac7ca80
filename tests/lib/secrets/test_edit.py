"""Which editor opens a secret, and where a value goes."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.secrets.edit import editor_argv, expect, file_with
from tasks.lib.secrets.files import SecretFile, one_file, secret_files
from tests.builders import checked_in_settings

PATH = Path("/dev/shm/x/a.env")
QUIET = ("-n", "-i", "NONE", "-c", "set nobackup nowritebackup noundofile viminfo=")


@pytest.mark.parametrize(
    ("environ", "argv"),
    [
        ({"EDITOR": "nano"}, ("nano", "/dev/shm/x/a.env")),
        ({"EDITOR": "nano", "VISUAL": "code --wait"}, ("code", "--wait", "/dev/shm/x/a.env")),
        ({"EDITOR": "/usr/bin/vim -u NONE"}, ("/usr/bin/vim", "-u", "NONE", *QUIET, "/dev/shm/x/a.env")),
        ({"EDITOR": "nvim"}, ("nvim", *QUIET, "/dev/shm/x/a.env")),
        ({"EDITOR": "'/opt/my editor/edit'"}, ("/opt/my editor/edit", "/dev/shm/x/a.env")),
    ],
)
def test_the_chosen_editor_runs_and_vim_leaves_no_files(
    environ: dict[str, str], argv: tuple[str, ...]
) -> None:
    assert editor_argv(environ, PATH) == argv


def test_vim_under_another_name_is_vim(tmp_path: Path) -> None:
    vim = tmp_path / "vim.basic"
    vim.touch(mode=0o700)
    vi = tmp_path / "vi"
    vi.symlink_to(vim)
    assert editor_argv({"EDITOR": str(vi)}, PATH) == (str(vi), *QUIET, str(PATH))


@pytest.mark.skipif(not shutil.which("vim"), reason="the real vim is not installed")
@pytest.mark.parametrize("editor", ["vim --not-a-term", "vi --not-a-term"])
def test_vim_leaves_no_traces_whatever_its_vimrc_says(tmp_path: Path, editor: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    keep = f"set nocp undofile undodir={home} backup backupdir={home} viminfo='9,<9,n{home}/info\n"
    (home / ".vimrc").write_text(keep)
    secret = tmp_path / "a.env"
    secret.write_text("A=canary\nB=2\n")
    argv = (*editor_argv({"EDITOR": editor}, secret), "-c", "1delete", "-c", "wq")
    subprocess.run(argv, env={**os.environ, "HOME": str(home)}, check=True, stdin=subprocess.DEVNULL)
    assert secret.read_text() == "B=2\n"
    assert [path.name for path in home.iterdir()] == [".vimrc"]


def test_without_an_editor_nothing_opens() -> None:
    with pytest.raises(UsageError) as refused:
        editor_argv({"EDITOR": "", "VISUAL": ""}, PATH)
    assert refused.value.next_step == "export EDITOR=nano"


def test_an_editor_whose_quotes_do_not_match_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="The editor's command cannot be read"):
        editor_argv({"EDITOR": "'nano"}, PATH)


@pytest.mark.parametrize(
    ("key", "file"),
    [("DB_PASSWORD", "lookit-secrets.env"), ("rabbitmq-erlang-cookie", "lookit-rabbitmq.env")],
)
def test_a_key_belongs_to_the_file_whose_list_has_it(key: str, file: str) -> None:
    settings = checked_in_settings()
    files = secret_files(settings, settings.environment("staging"))
    assert file_with(settings, files, key).name == file


def the_env_file() -> SecretFile:
    settings = checked_in_settings()
    return one_file(settings, settings.environment("staging"), "lookit-secrets.env")


def test_a_similar_expected_key_is_suggested() -> None:
    with pytest.raises(UsageError) as refused:
        expect(the_env_file(), "SECRET_KEYY")

    assert refused.value.what == "SECRET_KEYY is not in the .expected list of lookit-secrets.env."
    assert refused.value.why == "Did you mean SECRET_KEY?"
    assert refused.value.next_step.splitlines() == [
        "./inv secrets.set SECRET_KEY --environment staging",
        "or, if it is new: ./inv secrets.set SECRET_KEYY --environment staging --file lookit-secrets.env --new",
    ]


def test_without_a_similar_key_none_is_suggested() -> None:
    with pytest.raises(UsageError) as refused:
        expect(the_env_file(), "ZZ")

    assert refused.value.why == ""
    assert refused.value.next_step.startswith("if it is new: ./inv secrets.set ZZ ")


def test_an_expected_key_passes() -> None:
    expect(the_env_file(), "SECRET_KEY")


class Terminal(io.StringIO):
    """Standard input that a person types at."""

    def isatty(self) -> bool:
        return True


def test_a_new_key_is_confirmed_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n\n"))

    expect(the_env_file(), "SECRET_KEYY")
    assert capsys.readouterr().err.splitlines() == [
        "SECRET_KEYY is not in the .expected list of lookit-secrets.env. Did you mean SECRET_KEY?",
        "Set SECRET_KEYY all the same? [y/N]",
    ]
    with pytest.raises(UsageError):
        expect(the_env_file(), "SECRET_KEYY")
