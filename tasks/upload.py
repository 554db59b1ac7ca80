"""Upload built Ember apps."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from tasks import cli

if TYPE_CHECKING:
    from tasks.lib.ember.summary import Options
    from tasks.lib.settings.model import Environment, Settings


@cli.task(
    help={
        "environment": "Whose bucket: staging or production.",
        "archive": "A zip, tar, tar.gz, tar.zst or folder of a built Ember app; - reads standard input.",
        "if-present": "Where no archive is named, or it is not there, do nothing.",
        "prefix": "Where in the bucket, for example experiments/<uuid>.",
        "manifest": "A file of `<uuid>: <archive>` lines, instead of --archive and --prefix.",
        "activate": "Serve the revision once it is there (--no-activate leaves that to ember.activate).",
        "dry-run": "Say what would be done, and do nothing.",
        "allow-broken": "Warn of what would keep a browser from running the app, and upload it.",
        "json": "Print the summary as JSON.",
    }
)
def upload(
    c: Context,
    environment: str = "",
    archive: str = "",
    prefix: str = "",
    manifest: str = "",
    activate: bool = True,
    dry_run: bool = False,
    json: bool = False,
    if_present: bool = False,
    allow_broken: bool = False,
) -> None:
    """Bring a built Ember app to an environment's bucket, sending only what differs."""
    from tasks.lib import console
    from tasks.lib.ember import upload as uploading
    from tasks.lib.ember.archive.source import present
    from tasks.lib.ember.summary import Options, check_alone
    from tasks.lib.signals import limited

    settings = cli.settings(c)
    if if_present and not manifest and not present(archive):
        console.say(f"There is no archive{f' at {archive}' if archive else ''}, so nothing is uploaded.")
        return
    options = Options(activate=activate, dry_run=dry_run, allow_broken=allow_broken)
    check_alone(manifest, archive, prefix)
    target = settings.environment(environment)
    with limited(settings.time_limits.upload, uploading.too_long(settings)):
        if manifest:
            _upload_site(settings, target, Path(manifest), options, json)
            return
        done = uploading.upload(settings, target, archive, prefix, options)
        from tasks.lib.ember import report

        report.one(done, options, json)


def _upload_site(
    settings: "Settings", environment: "Environment", manifest: Path, options: "Options", json: bool
) -> None:
    from tasks.lib.ember import report, site
    from tasks.lib.ember.access import access

    archives = site.read_manifest(manifest)
    way = access(settings, environment)
    done, rest = site.upload_manifest(way, settings.ember, manifest, archives, options)
    report.site(done, rest, json, options)
