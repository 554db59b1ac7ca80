"""Render manifests."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "environment": "The environment to render, for example staging.",
        "commit": "The full commit SHA of the application (default: COMMIT_SHA, else from git).",
        "tag": "The version on labels (default: TAG_NAME, else image.default_tag).",
        "out": "A folder for one file per object, or - for standard output.",
        "show_secrets": "Show the values of Secrets on a terminal too.",
    }
)
def render(
    c: Context, environment: str, commit: str = "", tag: str = "", out: str = "-", show_secrets: bool = False
) -> None:
    """Print the Kubernetes manifests of an environment, or write them to a folder."""
    from tasks.lib import build_variables
    from tasks.lib.render import output, rendering
    from tasks.lib.secrets.crypt import decrypt_all

    settings = cli.settings(c)
    place = settings.environment(environment)
    variables = build_variables.read(settings, place, commit=commit, tag=tag)
    rendered = rendering.render(settings, place, variables, decrypt_all(settings, place))
    output.deliver(rendered, settings.kustomize.kubernetes, out, show_secrets=show_secrets)
