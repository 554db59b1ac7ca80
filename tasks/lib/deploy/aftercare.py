"""What is done after a failed deploy, as its caller chooses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Aftercare:
    """What the caller wants done after a failure.

    Args:
        roll_back: whether to bring the last good release back.
        evidence: the folder that bundles are put into; empty for what settings say.

    """

    roll_back: bool = True
    evidence: str = ""
