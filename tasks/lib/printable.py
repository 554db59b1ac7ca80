"""Text that others wrote, made safe to print: nothing that a terminal obeys, and one line where one is meant.

Containers, people and servers write what they like into logs, names and messages.  A control sequence there
could clear the screen, write to the clipboard, hide a line, or split a secret so that it is not recognised.
"""

import re
from typing import Final

LONGEST: Final = 2000
CONTROL: Final = re.compile(
    # Strings: window titles, the clipboard.  They end at BEL or ST; one left open ends with its line.
    r"(?:\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, the cursor, clearing the screen
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # What does not show, or turns the direction of what follows.
    "|[\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
LINE_ENDS: Final = re.compile("[\u2028\u2029]")


def printable(text: str) -> str:
    """`text` without control sequences and invisible characters; tabs and line feeds stay."""
    return LINE_ENDS.sub("\n", CONTROL.sub("", text))


def one_line(text: str) -> str:
    """The same on one line, so that nobody's text looks like a line of its own."""
    return printable(text).strip("\n").replace("\n", " ")


def clipped(text: str) -> str:
    """`text` without what goes beyond what anybody reads: some programs log whole pages as one line."""
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]} … and {rest} characters more"
