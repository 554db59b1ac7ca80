"""Show the settings in force."""

from invoke import Context

from tasks import cli


@cli.task(help={"environment": "Only the settings that concern this environment.", "json": "Print JSON."})
def settings(c: Context, environment: str = "", json: bool = False) -> None:
    """Print every setting in force and where its value came from."""
    from tasks.lib import console
    from tasks.lib.settings import listing, reader

    layers = cli.layers(c)
    valid = reader.read(layers, cli.ROOT)
    if environment:
        valid.environment(environment)
    explained = listing.concerning(reader.explain(layers), environment)
    console.emit(listing.as_json(explained) if json else listing.as_text(explained))
