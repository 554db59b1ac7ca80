"""`./inv --list` against Invoke itself, listing an empty collection."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turns, machine, markdown

ROOT = Path(__file__).resolve().parents[1]
# Where this is set, Python compiles our modules anew at every start, which no user's shell does.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main(rounds: int = 15) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tasks.py").write_text("from invoke import Collection\nnamespace = Collection()\n")

        def bare() -> None:  # exits with 1, because there is nothing to list
            subprocess.run(
                [sys.executable, "-m", "invoke", "--list"],
                cwd=folder, env=ENVIRONMENT, capture_output=True, check=False,
            )  # fmt: skip

        def ours() -> None:
            subprocess.run([ROOT / "inv", "--list"], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)

        timings = in_turns({"invoke --list, empty collection": bare, "./inv --list": ours}, rounds)
    sys.stdout.write(f"{machine()}\n\n{markdown('Listing the tasks', timings)}\n")


if __name__ == "__main__":
    main()
