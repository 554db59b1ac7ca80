"""What services answered over HTTP, and what is no answer of theirs."""

from typing import TYPE_CHECKING, Any

from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from requests import Response


def object_in(response: "Response", service: str) -> "dict[str, Any]":
    """The JSON object that an answer of a service holds; a Failure for anything else, as a proxy's page."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise in_place_of(service, response.headers.get("Content-Type", ""), response.text)
    return found


def in_place_of(service: str, kind: str, text: str) -> Failure:
    """The error for an answer that is not the service's, from its Content-Type, if any, and its text."""
    return Failure(
        f"{service} did not answer, but something in its place.",
        f"What came is {kind or 'no type'}, and not what was asked for: {' '.join(text.split())[:200]}",
        "Check the network, a proxy or VPN: https_proxy and no_proxy in the environment.",
    )


def refusal_words(response: "Response") -> str:
    """The message of a Google API's error, or the text that came instead."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:500]
