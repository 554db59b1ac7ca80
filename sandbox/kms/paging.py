"""Pages of a list: sizes and tokens as the Google APIs have them."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from sandbox.kms.refusals import beyond_the_sandbox, invalid

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000


def page(request: Any, found: Sequence[Any]) -> tuple[list[Any], str]:
    """The part of `found` that a List request asks for, and the token for the next one.

    Raises:
        Refusal: the size or the token is wrong, or a filter or an order was asked for.

    """
    if request.filter or request.order_by:
        raise beyond_the_sandbox("filter and order_by")
    if request.page_size < 0:
        raise invalid("page_size must not be negative.")
    size = min(request.page_size or DEFAULT_SIZE, LARGEST_SIZE)
    start = _start(request.parent, request.page_token)
    rest = len(found) > start + size
    return list(found[start : start + size]), _token(request.parent, start + size) if rest else ""


def _token(parent: str, start: int) -> str:
    return base64.urlsafe_b64encode(f"{parent} {start}".encode()).decode()


def _start(parent: str, token: str) -> int:
    """Where a page begins; a token is good only for the list that it came from."""
    if not token:
        return 0
    try:
        listed, start = base64.urlsafe_b64decode(token).decode().rsplit(" ", 1)
        if listed == parent:
            return int(start)
    except (ValueError, binascii.Error):
        pass
    raise invalid("The page_token is not valid for this list.")
