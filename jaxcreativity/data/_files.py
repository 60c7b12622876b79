"""Images of the user's own: a folder of image files."""

import os
import sys
from pathlib import Path

import numpy as np

from jaxcreativity import _checks
from jaxcreativity.data._source import (
    ImageSource,
    decode_in_threads,
    fit_to_square,
    random_split,
    stack_same_size,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_BATCH = 16


def folder(path: Path, image_size: int | None = None) -> ImageSource:
    """Every image file in a folder and below, in the order of the paths, without labels.

    Hidden files and folders are passed over; links are followed. Rotation marked in EXIF is applied; of an animation
    the first frame counts; transparent pixels are laid over white; 16 bits are rounded to 8. If every image that is
    read is grey (also when it is stored as RGB) there is one channel, else three.

    Raises:
        ValueError: if there are no image files, or (on reading) if some cannot be read, links to nothing included, or
            if sizes differ and `image_size` is not given.
    """
    paths = sorted(_image_files(path))
    if not paths:
        raise ValueError(f"no image files in {str(path)!r} or below; looked for {' '.join(IMAGE_SUFFIXES)}")

    def decode(batch):
        out = []
        for file in batch:
            try:
                out.append(_decode(file, image_size))
            except Exception as error:  # Pillow's plugins raise errors of a dozen kinds on a damaged file
                out.append(f"{file}: {error or type(error).__name__}")
        return out

    def read(rows):
        chosen = [paths[row] for row in rows]
        batches = [chosen[i : i + _BATCH] for i in range(0, len(chosen), _BATCH)]
        images = decode_in_threads(decode, batches, path.name)
        broken = [image for image in images if isinstance(image, str)]
        if broken:
            more = "\n  ..." if len(broken) > 5 else ""
            raise ValueError(
                f"{len(broken)} of {len(images)} image files cannot be read; remove or replace them:\n  "
                + "\n  ".join(broken[:5])
                + more
            )
        if all(image.shape[2] == 1 or _is_grey(image) for image in images):
            images = [image[..., :1] for image in images]
        else:
            images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
        return stack_same_size(images, repr(str(path))), None

    return ImageSource(len(paths), read, random_split(len(paths)))


def _image_files(folder):
    """Files and links with the suffix of an image, in the folder and below; every folder once, whatever links to it."""
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(where) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(where))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(where, name)


def _decode(file, image_size):
    _checks.needs("data", "PIL")
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        low_bytes = _low_bytes(file, image)
        image = ImageOps.exif_transpose(image)
        if low_bytes is not None:
            image = Image.fromarray(_rounded(256 * np.asarray(image, np.float64) + low_bytes))
        elif image.mode.startswith("I;16"):
            image = Image.fromarray(_rounded(np.asarray(image, np.float64)))
        elif image.mode in ("I", "F"):
            raise ValueError(f"pixels of type {image.mode} have no known range; save it with 8 or 16 bits")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
        if image_size is not None:
            image = fit_to_square(image, image_size)
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _rounded(values):
    """16-bit values as the nearest 8-bit ones."""
    return np.round(values / 257).astype(np.uint8)


def _low_bytes(file, image):
    """The lower bytes of an image with 16 bits a channel, of which Pillow keeps the upper ones; else `None`."""
    from PIL import Image, ImageOps

    layout = _layout(image)
    if ";16" not in layout or image.mode.startswith("I;16"):
        return None
    # Read in the other byte order, a pixel's upper byte is the one that was the lower.
    native, other = ("B", "L") if sys.byteorder == "big" else ("L", "B")
    swapped = layout[:-1] + (native if layout[-1] == other else other)
    with Image.open(file) as again:
        again.tile = [
            tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *tile.args[1:]))
            for tile in again.tile
        ]
        try:
            return np.asarray(ImageOps.exif_transpose(again), np.float64)
        except ValueError as error:
            raise ValueError(f"pixels of type {layout} are not known; save it with 8 bits") from error


def _layout(image):
    """How the pixels lie in the file, in Pillow's words; `""` where that is not said."""
    arguments = image.tile[0].args if image.tile else ""
    layout = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    return layout if isinstance(layout, str) else ""


def _is_grey(image):
    return bool((image == image[..., :1]).all())
