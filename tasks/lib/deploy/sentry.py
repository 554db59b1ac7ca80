"""Telling Sentry which commit was released where, with its own program (installed beside this Python)."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tasks.lib import console, process
from tasks.lib.build_variables import BuildVariables, repository_full_name
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor
from tasks.lib.settings.model import Environment, Settings

TOKEN = "SENTRY_AUTH_TOKEN"  # noqa: S105 - a variable's name


def announce(
    settings: Settings,
    environment: Environment,
    variables: BuildVariables,
    environ: Mapping[str, str] | None = None,
) -> bool:
    """Create the release in Sentry, with its commit and deployment; False where nobody is to be told.

    Every one of the calls may be repeated: Sentry takes a release that exists for the same one.
    Raises Failure where the token is missing or Sentry refuses, TimedOut beyond time_limits.sentry.
    """
    environ = os.environ if environ is None else environ
    if not settings.sentry.organization:
        console.say("No organisation is set (sentry.organization in invoke.yaml), so nobody is told.")
        return False
    token = environ.get(TOKEN, "")
    if not token:
        raise Failure(
            f"Sentry cannot be told: {TOKEN} is not set.", "Its calls need a token with the scope org:ci.",
            f"Set {TOKEN}; in Cloud Build it comes from Secret Manager (availableSecrets).",
        )  # fmt: skip
    env = {
        "SENTRY_ORG": settings.sentry.organization,
        "SENTRY_PROJECT": settings.sentry.project,
        "SENTRY_URL": settings.sentry.url,
        "RUST_BACKTRACE": "0",  # its stack would push the reason out of the message
    }
    for argv in commands(settings, environment, variables):
        _call(argv, env, token, settings.time_limits.sentry)
    return True


def commands(
    settings: Settings, environment: Environment, variables: BuildVariables
) -> list[tuple[str, ...]]:
    """The calls, in order; the release is named after the commit, as the application reports it."""
    release = variables.commit_sha
    repository = repository_full_name(settings.source.repository)
    program = str(Path(sys.executable).with_name("sentry-cli"))
    return [
        (program, "releases", "new", release),
        (program, "releases", "set-commits", release, "--commit", f"{repository}@{release}"),
        (program, "releases", "finalize", release),
        (program, "deploys", "new", "--release", release, "--env", environment.name,
         "--url", f"https://{environment.host}/"),
    ]  # fmt: skip


def _call(argv: tuple[str, ...], env: Mapping[str, str], token: str, seconds: float) -> None:
    try:
        process.run(argv, time_limit=seconds, env={**env, TOKEN: token})
    except Failure as failure:
        raise type(failure)(
            f"Sentry was not told: `sentry-cli {' '.join(argv[1:3])}` failed.",
            Redactor([token]).text(failure.why or failure.what),
            "The release itself stands.  Check sentry.* in invoke.yaml and the token's scopes (org:ci).",
        ) from failure
