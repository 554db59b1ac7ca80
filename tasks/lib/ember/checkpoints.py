"""Sessions of large files, remembered across runs, so that a killed upload goes on where it ended."""

import contextlib
import os
import time
from pathlib import Path

from msgspec import Struct, field

from tasks.lib.console import say

# Cloud Storage keeps a session for a week.
LONGEST_LIFE = 7 * 24 * 3600


class Checkpoints(Struct, frozen=True):
    """A folder with a private file for each session: who knows a session's address may write to it.

    Where the folder cannot be written, sessions are remembered as long as this process lives.
    """

    folder: Path
    _here: dict[str, tuple[str, int]] = field(default_factory=dict)

    def load(self, key: str) -> tuple[str, int]:
        """The session of an earlier run for the same write, and how many bytes it confirmed; else ("", 0)."""
        if key in self._here:
            return self._here[key]
        path = self._path(key)
        try:
            fresh = time.time() - path.stat().st_mtime < LONGEST_LIFE
            offset, _, session = path.read_text().partition(" ")
        except (OSError, UnicodeError):
            return "", 0
        return (session, int(offset)) if fresh and offset.isdecimal() else ("", 0)

    def save(self, key: str, session: str, offset: int) -> None:
        """Remember a session and how many bytes it confirmed, and forget those that have run out."""
        from tasks.lib.files import write_atomically  # slow to load, and for large files only

        try:
            write_atomically(self._path(key), f"{offset} {session}".encode())
            self._forget_old()
        except OSError as error:
            if not self._here:
                say(f"Large files cannot be taken up again by a later run: {error}")
            self._here[key] = session, offset

    def forget(self, key: str) -> None:
        """The session has served its purpose."""
        self._here.pop(key, None)
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _forget_old(self) -> None:
        for path in self.folder.glob("*.session"):
            # Another upload forgets its own meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LONGEST_LIFE:
                    path.unlink()

    def _path(self, key: str) -> Path:
        import hashlib  # as above

        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.session"


def state_folder() -> Path:
    """Where sessions are remembered: below XDG_STATE_HOME, else ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "lookit-orchestrator" / "uploads"
