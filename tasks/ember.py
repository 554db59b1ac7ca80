"""Manage the Ember apps in a bucket: their revisions, and the bucket's configuration."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from invoke import Collection, Context

from tasks import cli

if TYPE_CHECKING:
    from tasks.lib.ember.place import Place

PLACE = {
    "environment": "The environment: staging or production.",
    "prefix": "The folder of the app in the bucket, for example experiments/<uuid>.",
}


@cli.task(name="list", help={**PLACE, "json": "Print JSON."})
def list_(c: Context, environment: str = "", prefix: str = "", json: bool = False) -> None:
    """Show the revisions of an app, newest first, and which is active."""
    from tasks.lib.ember import report
    from tasks.lib.ember.overview import overview

    with _place(c, environment, prefix) as place:
        report.revisions(overview(place), json)


@cli.task(
    positional=["revision"], help={**PLACE, "revision": "The name of the revision, or its first characters."}
)
def activate(c: Context, revision: str, environment: str = "", prefix: str = "") -> None:
    """Activate a revision that is already uploaded."""
    from tasks.lib import console
    from tasks.lib.ember.overview import activate_chosen

    with _place(c, environment, prefix) as place:
        console.say(activate_chosen(place, revision))
        console.emit(place.url)


@cli.task(help=PLACE)
def rollback(c: Context, environment: str = "", prefix: str = "") -> None:
    """Activate the revision that was active before."""
    from tasks.lib import console
    from tasks.lib.ember.overview import roll_back

    with _place(c, environment, prefix) as place:
        console.say(roll_back(place))
        console.emit(place.url)


@cli.task(
    help={
        **PLACE,
        "keep": "How many of the newest revisions to keep in any case.",
        "older-than": "Remove only revisions uploaded more than this many days ago.",
        "dry-run": "Only show what would be removed.",
    }
)
def prune(
    c: Context,
    environment: str = "",
    prefix: str = "",
    keep: int = 5,
    older_than: int = 30,
    dry_run: bool = False,
) -> None:
    """Remove old revisions; the active one and the one before it are kept."""
    from tasks.lib import console
    from tasks.lib.ember import pruning

    with _place(c, environment, prefix) as place:
        for line in pruning.prune(place, keep, older_than, dry_run):
            console.say(line)


@cli.task(help={**PLACE, "revision": "The revision (default: the active one)."})
def verify(c: Context, environment: str = "", prefix: str = "", revision: str = "") -> None:
    """Check that a revision is complete and that the public can load it."""
    from tasks.lib import console
    from tasks.lib.ember import verification

    settings = cli.settings(c)
    site = settings.ember.site.replace("{host}", settings.environment(environment).host)
    with _place(c, environment, prefix) as place:
        console.say(verification.verify(place, revision, settings.ember.bucket.cors, site))


@cli.task(name="open", help=PLACE)
def open_(c: Context, environment: str = "", prefix: str = "") -> None:
    """Open the app's public page in a browser."""
    import webbrowser

    from tasks.lib import console

    with _place(c, environment, prefix) as place:
        webbrowser.open(place.url)
        console.emit(place.url)


@cli.task(
    help={
        "environment": PLACE["environment"],
        "apply": "Change the bucket to match the settings.",
        "plan": "Only show the differences (the default).",
        "exit-code": "With --plan: exit with 3 if something differs.",
    }
)
def bucket(
    c: Context, environment: str = "", plan: bool = False, apply: bool = False, exit_code: bool = False
) -> None:
    """Compare the bucket's CORS, website and lifecycle configuration with the settings, and apply them."""
    from tasks.lib import console
    from tasks.lib.ember import bucket as configuring
    from tasks.lib.ember.access import access

    configuring.check_options(plan or exit_code, apply)
    settings = cli.settings(c)
    way = access(settings, settings.environment(environment))
    found, now = configuring.observe(way)
    changes = configuring.changes(settings.ember.bucket, now)
    for change in changes:
        console.say(str(change))
    if changes and apply:
        configuring.apply(way, found, configuring.wanted(settings.ember.bucket, now))
    console.say("Applied." if changes and apply else configuring.told(changes))
    if exit_code:
        configuring.require_no_changes(changes)


def _place(c: Context, environment: str, prefix: str) -> "AbstractContextManager[Place]":
    from tasks.lib.ember.access import access
    from tasks.lib.ember.place import opened

    settings = cli.settings(c)
    return opened(access(settings, settings.environment(environment)), settings.ember, prefix)


ember = Collection("ember", list_, activate, rollback, prune, verify, open_, bucket)
