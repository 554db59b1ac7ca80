"""Text from elsewhere, made safe to print: without control sequences, and on one line where needed.

Logs, names and messages of containers, people and servers may hold control sequences that clear the screen,
write to the clipboard, hide a line, or split a secret so that it is not recognised.
"""

import re
from typing import Final

LONGEST: Final = 2000
CONTROL: Final = re.compile(
    # Strings: window titles, the clipboard.  They end at BEL or ST, or with the line.
    r"(?:\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, the cursor, clearing the screen
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # Invisible characters, and those that change the direction of text.
    "|[\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
LINE_ENDS: Final = re.compile("[\u2028\u2029]")


def printable(text: str) -> str:
    """`text` without control sequences and invisible characters; tabs and line feeds stay."""
    return LINE_ENDS.sub("\n", CONTROL.sub("", text))


def one_line(text: str) -> str:
    """The same on one line, so that no part of it looks like a line of output."""
    return printable(text).strip("\n").replace("\n", " ")


def clipped(text: str) -> str:
    """`text` cut to 2,000 characters: some programs log whole pages as one line."""
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]} … and {rest} characters more"
