"""A program called docker that answers as a test says: for what an engine does that a healthy one does not."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Says:
    """One answer, to every command that matches a shell's pattern; `again` is what comes from the second time on."""

    pattern: str
    out: str = ""
    err: str = ""
    code: int = 0
    again: "Says | None" = None


@dataclass(frozen=True)
class DockerProgram:
    """The program, first on PATH while the test runs."""

    folder: Path

    def answers(self, *answers: Says) -> None:
        """Answer so; a command that matches nothing succeeds without a word."""
        cases = "".join(
            f"{one.pattern.replace(' ', '?')}) {self._act(number, one)};;\n"
            for number, one in enumerate(answers)
        )
        program = self.folder / "docker"
        program.write_text(f'#!/bin/sh\necho "$*" >>{self.folder}/log\ncase "$*" in\n{cases}esac\n')
        program.chmod(0o755)

    def _act(self, number: int, one: Says) -> str:
        if not one.again:
            return _spoken(one)
        mark = self.folder / f"said-{number}"
        return f"if [ -e {mark} ]; then {_spoken(one.again)}; else touch {mark}; {_spoken(one)}; fi"

    @property
    def asked(self) -> Sequence[str]:
        """The commands so far."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


def _spoken(one: Says) -> str:
    return f"printf %s {shlex.quote(one.out)}; printf %s {shlex.quote(one.err)} >&2; exit {one.code}"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerProgram:
    """A docker that answers nothing yet."""
    folder = tmp_path / "docker-program"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    program = DockerProgram(folder)
    program.answers()
    return program
