"""Making images from their recipes: what was made once is kept in the cache, by what goes into it."""

from pathlib import Path

from sandbox import binaries
from sandbox.images import layers
from sandbox.images.archive import Image
from sandbox.images.recipes import Recipe


def folder() -> Path:
    """The folder in the cache."""
    return binaries.cache_folder() / "images"


def obtain(recipe: Recipe, images: Path) -> Image:
    """An image; layers that the folder `images` lacks are made.

    Raises:
        Failure: a layer could not be made.

    """
    return Image(recipe.names, recipe.config, layers.obtain(recipe.layer, images / "layers"))
