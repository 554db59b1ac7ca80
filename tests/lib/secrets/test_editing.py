"""Which editor opens a secret, and where a value goes."""

from pathlib import Path

import pytest

from tasks.lib.errors import UsageError
from tasks.lib.secrets.editing import editor_argv, file_with
from tasks.lib.secrets.files import secret_files
from tests.builders import checked_in_settings

PATH = Path("/dev/shm/x/a.env")
QUIET = ("-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noundofile")


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
def test_the_editor_is_the_persons_own_and_vim_keeps_no_traces(
    environ: dict[str, str], argv: tuple[str, ...]
) -> None:
    assert editor_argv(environ, PATH) == argv


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
