"""How psql is started, what it is told, and what it is not."""

import shutil

import pytest

from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate import connect
from tasks.lib.operate.login import Login
from tasks.lib.redaction import Secret
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING, PRODUCTION = (SETTINGS.environment(name) for name in ("staging", "production"))
LOGIN = Login("staging-gcloud-sqlproxy", "lookit", Secret(b"pass:w\\rd"), "lookit")


def variables(*, write: bool = False) -> dict[str, str | None]:
    return dict(connect.variables(LOGIN, 40123, "/dev/shm/x/pgpass", write))


def test_the_password_is_in_no_argument_and_no_variable() -> None:
    told = [*connect.psql("SELECT 1"), *(value or "" for value in variables().values())]

    assert not any("pass:w" in one for one in told)
    assert variables()["PGPASSFILE"] == "/dev/shm/x/pgpass"


def test_the_password_file_escapes_what_separates() -> None:
    assert connect.pgpass(LOGIN) == b"*:*:*:*:pass\\:w\\\\rd\n"


def test_sessions_are_read_only_unless_asked() -> None:
    assert variables()["PGOPTIONS"] == "-c default_transaction_read_only=on"
    assert variables(write=True)["PGOPTIONS"] is None
    assert "default_transaction_read_only" in connect.address(LOGIN, 5433, write=False)
    assert connect.address(LOGIN, 5433, write=True) == "postgresql://lookit@127.0.0.1:5433/lookit"


def test_psql_keeps_no_history() -> None:
    assert variables()["PSQL_HISTORY"] == "/dev/null"


def test_the_users_own_variables_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSERVICE", "PGPASSWORD", "PGOPTIONS"):
        monkeypatch.setenv(name, "mine")

    told = variables(write=True)

    assert [told[name] for name in ("PGSERVICE", "PGPASSWORD", "PGOPTIONS")] == [None, None, None]


def test_a_single_command_reads_no_psqlrc() -> None:
    assert connect.psql("SELECT 1") == ("psql", "--no-password", "--no-psqlrc", "--command=SELECT 1")
    assert connect.psql("") == ("psql", "--no-password")


def test_a_missing_psql_names_the_package_and_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(Failure, match="psql is not installed") as raised:
        connect.require_psql(STAGING)

    assert "postgresql-client" in raised.value.next_step
    assert "./inv database.connect --environment staging --port 5433" in raised.value.next_step


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="is not a port"):
        connect.leave_open(SETTINGS, STAGING, port, False, print, print)


def approved(
    environment_name: str, confirmed: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr("sys.stdin", Terminal())
    connect.typed(SETTINGS.environment(environment_name), confirmed, lambda: answer, said.append)
    return said


class Terminal:
    """A stdin that is one."""

    def isatty(self) -> bool:
        return True


def test_writing_to_production_takes_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Type production to go on" in " ".join(approved("production", "", "production", monkeypatch))
    with pytest.raises(Failure, match="was not approved: nothing was done"):
        approved("production", "", "yes", monkeypatch)


def test_nothing_is_asked_where_the_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert approved("production", "production", "", monkeypatch) == []
    assert approved("staging", "", "", monkeypatch) == []


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--confirm staging is not the environment production"):
        approved("production", "staging", "", monkeypatch)


def test_without_a_terminal_the_name_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "isatty", lambda _: False)

    with pytest.raises(UsageError, match="Cannot prompt"):
        approved("production", "", "production", monkeypatch)
