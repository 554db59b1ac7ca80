"""Settings as they are printed."""

import json

from tasks.lib.settings.listing import as_json, as_text
from tasks.lib.settings.reader import Explained


def test_a_value_that_is_no_utf_8_is_printed_escaped() -> None:
    """As a variable may hold it: a terminal that takes UTF-8 would refuse the whole listing."""
    setting = Explained("source.checkout", "/caf\udce9/ü", "INVOKE_ variable")

    assert as_text([setting]).encode() == 'source.checkout  INVOKE_ variable  "/caf\\udce9/ü"'.encode()
    assert json.loads(as_json([setting]).encode())[0]["value"] == "/caf\udce9/ü"
