"""Answers of services over HTTP, and answers of something else in their place."""

from typing import TYPE_CHECKING, Any

from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from requests import Response


def object_in(response: "Response", service: str) -> "dict[str, Any]":
    """The JSON object in a service's answer; a Failure for anything else, such as a proxy's page."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise in_place_of(service, response.headers.get("Content-Type", ""), response.text)
    return found


def in_place_of(service: str, kind: str, text: str) -> Failure:
    """The error for an answer that does not come from the service, with its Content-Type and text."""
    shown = " ".join(text.split())[:200]
    return Failure(
        f"{service} did not answer; something else did.",
        f"The answer ({kind or 'without a Content-Type'}) is not the service's: {shown}",
        "Check the network, a proxy or VPN: https_proxy and no_proxy in the environment.",
    )


def refusal_words(response: "Response") -> str:
    """The message in a Google API's error, or the text of the answer."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:500]
