"""Making images from their recipes: what was made once is kept in the cache, by what goes into it."""

from collections.abc import Sequence
from pathlib import Path

from sandbox import binaries
from sandbox.images import layers
from sandbox.images.archive import Image
from sandbox.images.recipes import Recipe
from tasks.lib.background import side_by_side

# Fetching and unpacking take turns with computing; more at once gain nothing on two cores.
AT_ONCE = 2


def folder() -> Path:
    """The folder in the cache."""
    return binaries.cache_folder() / "images"


def has_all(recipes: Sequence[Recipe]) -> bool:
    """Whether nothing has to be made for images of these recipes."""
    layers = folder() / "layers"
    return all(layer.is_made(layers) for recipe in recipes for layer in recipe.layer.stack)


def obtain(recipe: Recipe, images: Path) -> Image:
    """An image; layers that the folder `images` lacks are made.

    Raises:
        Failure: a layer could not be made.

    """
    return Image(recipe.names, recipe.config, layers.obtain(recipe.layer, images / "layers"))


def obtain_all(recipes: Sequence[Recipe], images: Path) -> list[Image]:
    """Several images, two made at a time; a layer that they share is made once.

    Raises:
        Failure: a layer could not be made.

    """
    return side_by_side(lambda recipe: obtain(recipe, images), recipes, AT_ONCE)
