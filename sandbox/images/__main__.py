"""python -m sandbox.images [NAME…]: make the images of a real node, and print their names."""

import sys

from sandbox.images import making, recipes
from tasks.lib.errors import Failure, UsageError

UNRELEASED = "0" * 40


def main(names: list[str]) -> int:
    """Make the images called `names`, or all; the exit code."""
    known = {"application": recipes.application("gcr.io/mit-lookit/lookit", UNRELEASED), **recipes.ALL}
    try:
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"There is no image {', '.join(unknown)}.", f"Known images: {', '.join(known)}.")
        wanted = names or list(known)
        images = making.obtain_all([known[name] for name in wanted], making.folder())
        for name, image in zip(wanted, images, strict=True):
            size = sum(layer.path.stat().st_size for layer in image.layers)
            sys.stdout.write(f"{name} {size // 2**20} MiB {' '.join(image.names)}\n")
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
