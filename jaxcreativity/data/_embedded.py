"""Images that come inside scikit-learn's and scikit-image's packages, read without any network."""

import importlib.resources

import numpy as np

from jaxcreativity import _checks
from jaxcreativity.data._source import ImageSource, from_arrays

PATCH_SIZE = 16

PHOTOGRAPHS = (
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "brick.png"),
    ("skimage.data", "camera.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "grass.png"),
    ("skimage.data", "gravel.png"),
    ("skimage.data", "moon.png"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "rocket.jpg"),
)
"""Photographs of things and textures; microscopy, retina, deep sky, drawings and scans of text are left out."""


def digits(image_size: int | None = None) -> ImageSource:
    """1 797 handwritten digits, 8x8x1, 17 grey levels, with labels (scikit-learn's `load_digits`).

    Args:
        image_size: side to resize to.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    _checks.needs("data", "sklearn")
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = (raw.images[..., None] / 8 - 1).astype(np.float32)
    return from_arrays(images, raw.target.astype(np.int64), image_size)


def faces(image_size: int | None = None) -> ImageSource:
    """100 grey portraits, 25x25x1 (the first half of scikit-image's `lfw_subset`).

    Only the faces: the other half of that array is background, cut from the same photographs.
    """
    images = np.load(_file("skimage.data", "lfw_subset.npy"))[:100]  # float64 in [0, 1]
    return from_arrays((2 * images[..., None] - 1).astype(np.float32), None, image_size)


def natural_patches(image_size: int | None = None) -> ImageSource:
    """Grey tiles, 16x16x1, that do not overlap, of the photographs in `PHOTOGRAPHS`.

    Luma of ITU-R 601 (Pillow's mode "L"). Tiles are smooth in large part (sky, moon): that is what photographs are
    like. Of equal tiles (burnt-out sky) one is kept.

    Held out is one upright band of tiles per photograph, at a random place: tiles that touch are then in the same
    part except along the band's two edges, and the band has sky and ground like the rest.

    Args:
        image_size: side to resize to.

    Raises:
        ImportError: if Pillow, scikit-learn or scikit-image is not installed.
    """
    _checks.needs("data", "PIL", "sklearn", "skimage")
    from PIL import Image

    tiles, columns, photographs = [], [], []
    for number, (package, name) in enumerate(PHOTOGRAPHS):
        with Image.open(_file(package, name)) as photograph:
            grey = np.asarray(photograph.convert("L"))
        rows, cols = grey.shape[0] // PATCH_SIZE, grey.shape[1] // PATCH_SIZE
        grid = grey[: rows * PATCH_SIZE, : cols * PATCH_SIZE].reshape(rows, PATCH_SIZE, cols, PATCH_SIZE)
        tiles.append(grid.swapaxes(1, 2).reshape(-1, PATCH_SIZE, PATCH_SIZE, 1))
        columns.append(np.tile(np.arange(cols), rows))
        photographs.append(np.full(rows * cols, number))
    tiles, columns, photographs = map(np.concatenate, (tiles, columns, photographs))
    first = np.sort(np.unique(tiles.reshape(len(tiles), -1), axis=0, return_index=True)[1])
    tiles, columns, photographs = tiles[first], columns[first], photographs[first]

    def split(rng, test_fraction):
        held_out = np.zeros(len(tiles), bool)
        for number in range(len(PHOTOGRAPHS)):
            here = photographs == number
            cols = columns[here].max() + 1
            width = min(max(round(test_fraction * cols), 1), cols - 1)
            start = rng.integers(cols - width + 1)
            held_out |= here & (columns >= start) & (columns < start + width)
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    return from_arrays(tiles, None, image_size, split)


def _file(package, name):
    # The files themselves: `skimage.data.<name>()` would try to download what a later release leaves out.
    _checks.needs("data", package.partition(".")[0])
    path = importlib.resources.files(package) / name
    if not path.is_file():
        raise ValueError(
            f"the installed {package.partition('.')[0]} has no {name}; install the version that this project asks for"
        )
    return path
