"""What is asked of a run of the application's tests, and in which words it is refused."""

from pathlib import Path

from tests.program import Here


def test_a_command_whose_quotes_do_not_match_is_bad_usage(here: Here, tmp_path: Path) -> None:
    ended = here.inv("test", "--source", str(tmp_path), "--commit", "c" * 40, "--command", "pytest 'a")

    assert ended.code == 2
    assert ended.stderr.startswith("The command cannot be read: pytest 'a\n  why:  No closing quotation.\n")
