"""Upload built Ember apps."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "environment": "Whose bucket: staging or production.",
        "archive": "A zip, tar, tar.gz, tar.zst or folder of a built Ember app; - reads standard input.",
        "if-present": "Where no archive is named, or it is not there, do nothing.",
        "prefix": "Where in the bucket, for example experiments/<uuid>.",
    }
)
def upload(
    c: Context, environment: str = "", archive: str = "", prefix: str = "", if_present: bool = False
) -> None:
    """Bring a built Ember app to an environment's bucket, sending only what differs."""
    from pathlib import Path

    from tasks.lib import console
    from tasks.lib.ember import report
    from tasks.lib.ember.upload import upload as bring

    settings = cli.settings(c)
    if if_present and not (archive and Path(archive).exists()):
        console.say(f"There is no archive{f' at {archive}' if archive else ''}, so nothing is uploaded.")
        return
    summary = bring(settings, settings.environment(environment), archive, prefix)
    console.say(report.sentence(summary))
    console.emit(summary.url)
