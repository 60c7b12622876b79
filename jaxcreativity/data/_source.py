"""What every origin of images provides: a count, a way to read some of them, and a way to hold some out."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxcreativity import _checks

Rows = np.ndarray
Images = np.ndarray
Labels = np.ndarray


def random_split(count: int) -> Callable[[np.random.Generator, float], tuple[Rows, Rows]]:
    """A split that holds out images at random, at least one and not all."""

    def split(rng, test_fraction):
        held_out = min(max(round(test_fraction * count), 1), count - 1)
        shuffled = rng.permutation(count)
        return np.sort(shuffled[held_out:]), np.sort(shuffled[:held_out])

    return split


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Images of which any subset can be read.

    Args:
        count: how many there are.
        read: `rows -> (images (n, h, w, c), labels (n,) or None)`; images are uint8, or float32 in [-1, 1], already of
            the size that was asked for.
        split: `(rng, test_fraction) -> (train_rows, test_rows)`.
    """

    count: int
    read: Callable[[Rows], tuple[Images, Labels | None]]
    split: Callable[[np.random.Generator, float], tuple[Rows, Rows]]


def from_arrays(
    images: Images,
    labels: Labels | None = None,
    image_size: int | None = None,
    split: Callable[[np.random.Generator, float], tuple[Rows, Rows]] | None = None,
) -> ImageSource:
    """A source of images `(n, h, w, c)` that are in memory; the rows that are read are resized.

    Args:
        images: uint8, or float32 in [-1, 1].
        labels: `(n,)`, or `None`.
        image_size: height and width to resize to, or `None`.
        split: what is held out; random images by default.
    """

    def read(rows):
        chosen = images[rows]
        if image_size is not None and chosen.shape[1:3] != (image_size, image_size):
            chosen = np.stack([_fit_array(image, image_size) for image in chosen])
        return chosen, None if labels is None else labels[rows]

    return ImageSource(len(images), read, split or random_split(len(images)))


def fit_to_square(image: Any, size: int) -> Any:
    """Crop a Pillow image to the central square and resize it with the Lanczos filter, which widens as it reduces."""
    from PIL.Image import Resampling

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return image if side == size else image.resize((size, size), Resampling.LANCZOS)


def _fit_array(image, size):
    _checks.needs("data", "PIL")
    from PIL import Image

    # Channel by channel: Pillow has no two-channel and no floating-point colour images.
    channels = [fit_to_square(Image.fromarray(np.ascontiguousarray(c)), size) for c in np.moveaxis(image, -1, 0)]
    resized = np.stack([np.asarray(c) for c in channels], axis=-1)
    return resized if resized.dtype == np.uint8 else resized.clip(-1, 1)


def stack_same_size(images: Sequence[np.ndarray], origin: str) -> np.ndarray:
    """One array of all images.

    Raises:
        ValueError: if they differ in size.
    """
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        some = ", ".join(f"{h}x{w}" for h, w in sizes[:4]) + (", ..." if len(sizes) > 4 else "")
        raise ValueError(f"{origin} has images of {len(sizes)} sizes ({some}); pass image_size=... to resize them")
    return np.stack(images)


def decode_in_threads(decode: Callable[[Any], list], batches: Sequence[Sequence], description: str) -> list:
    """`decode` every batch in threads (Pillow releases the interpreter lock), in order, with a progress bar.

    Args:
        decode: batch -> decoded images.
        batches: what is decoded.
        description: of the bar.
    """
    from tqdm import tqdm

    out = []
    total = sum(map(len, batches))
    pool = ThreadPoolExecutor()
    try:
        with tqdm(total=total, desc=description, unit="image", leave=False) as bar:
            for batch in pool.map(decode, batches):
                out.extend(batch)
                bar.update(len(batch))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, do not decode the rest first
    return out
