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
        "environment": "The environment: staging or production.",
        "archive": "A zip, tar, tar.gz, tar.zst or folder of a built Ember app; - reads standard input.",
        "if-present": "Do nothing if no archive is named or it does not exist.",
        "prefix": "The folder in the bucket, for example experiments/<uuid>.",
        "manifest": "A file with lines `<uuid>: <archive>`, instead of --archive and --prefix.",
        "activate": "Activate the revision after the upload; --no-activate leaves that to ember.activate.",
        "dry-run": "Only show what would be done.",
        "allow-broken": "Upload an app that a browser could not run, with a warning.",
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
    """Upload a built Ember app to an environment's bucket; unchanged files are not sent again."""
    from tasks.lib import console
    from tasks.lib.ember import upload as uploading
    from tasks.lib.ember.archive.source import present
    from tasks.lib.ember.summary import Options, check_alone
    from tasks.lib.signals import limited

    settings = cli.settings(c)
    if if_present and not manifest and not present(archive):
        console.say(f"There is no archive{f' at {archive}' if archive else ''}: nothing is uploaded.")
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
