"""Create what an environment needs before its first deploy."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "environment": "The environment, as it stands in invoke.yaml.",
        "project": "The project of the builds (default: the environment's).",
        "apply": "Run the commands instead of printing them.",
    },
)
def setup(c: Context, environment: str, project: str = "", apply: bool = False) -> None:
    """Print, or run, the gcloud commands that create a new environment, each with its reason."""
    from tasks.lib import console
    from tasks.lib import setup as wanted

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    made = wanted.parts(settings, chosen, project or chosen.project)
    if apply:
        wanted.apply(made, settings)
    else:
        console.emit(wanted.as_script(made, settings))
