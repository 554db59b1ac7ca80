"""Manage the images in the registry."""

from invoke import Context

from tasks import cli


@cli.task(
    name="list",
    help={
        "repository": "The repository (default: image.repository in invoke.yaml).",
        "json": "Print JSON.",
    },
)
def list_(c: Context, repository: str = "", json: bool = False) -> None:
    """List the images of a repository, newest first, with their tags, commits and sizes."""
    from tasks.lib import console
    from tasks.lib.image import inventory
    from tasks.lib.image.reference import parse

    settings = cli.settings(c)
    images = inventory.held(settings, parse(repository or settings.image.repository))
    if json:
        console.emit(inventory.as_json(images))
    elif not images:
        console.say(f"{repository or settings.image.repository} has no images.")
    else:
        console.table(("tags", "created", "commit", "size", "digest"), inventory.rows(images))


@cli.task(
    help={
        "image": "The tag or digest to promote, such as a commit.",
        "as": "The new tag (default: the same).",
        "to": "The repository to copy it to (default: the same).",
        "repository": "The repository of the image (default: image.repository in invoke.yaml).",
        "move": "Move the tag if another image has it.",
    }
)
def promote(
    c: Context, image: str = "", as_: str = "", to: str = "", repository: str = "", move: bool = False
) -> None:
    """Give an image another tag or repository, by digest, without rebuilding it."""
    from tasks.lib import console
    from tasks.lib.image import promote
    from tasks.lib.image.reference import parse

    settings = cli.settings(c)
    home = repository or settings.image.repository
    source, target = promote.named(home, image, to or home, as_)
    digest = promote.promote(settings, source, target, move=move)
    console.emit(str(parse(str(target)).at(digest)))


@cli.task(
    help={
        "keep": "How many of the newest images to keep in any case.",
        "repository": "The repository (default: image.repository in invoke.yaml).",
        "yes": "Do not ask for confirmation.",
    }
)
def prune(c: Context, keep: int = 20, repository: str = "", yes: bool = False) -> None:
    """Delete old images that no cluster uses, after confirmation."""
    from tasks.lib.deploy.images_in_use import in_use
    from tasks.lib.image import prune
    from tasks.lib.image.reference import parse

    prune.check_number(keep)
    settings = cli.settings(c)
    agree = (lambda _: True) if yes else prune.agreed
    pruned = parse(repository or settings.image.repository)
    prune.prune(settings, pruned, keep, lambda: in_use(settings, pruned), agree)
