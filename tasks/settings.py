"""Show the settings in force."""

from invoke import Context

from tasks import cli


@cli.task(help={"environment": "Leave out the settings of other environments.", "json": "Print JSON."})
def settings(c: Context, environment: str = "", json: bool = False) -> None:
    """Print every setting with its value and the source of that value."""
    from tasks.lib import console
    from tasks.lib.settings import listing, reader

    layers = cli.layers(c)
    valid = reader.read(layers, cli.ROOT)
    if environment:
        valid.environment(environment)
    explained = listing.concerning(reader.explain(layers), environment)
    console.emit(listing.as_json(explained) if json else listing.as_text(explained))
