"""Image sets as arrays: `load("digits")`, `load("cifar10")`, `load("path/to/folder")`, `load("images.npz")`."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer

from jaxcreativity import _checks
from jaxcreativity.data import _arrays, _embedded, _files, _tfds_images
from jaxcreativity.data._source import ImageSource

EMBEDDED = {
    "digits": _embedded.digits,
    "natural_patches": _embedded.natural_patches,
    "faces": _embedded.faces,
}
"""The sets that need no download, by name: `image_size -> ImageSource`."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images to train on and images held out, disjoint, with values in [-1, 1].

    Args:
        name: what was loaded.
        train: `(n, height, width, channels)`, float32.
        test: `(m, height, width, channels)`, float32; none is a copy of one in `train`.
        train_labels: `(n,)` class numbers, or `None` where the set has none.
        test_labels: `(m,)`, or `None`.
    """

    name: str
    train: Float32[np.ndarray, "n h w c"]
    test: Float32[np.ndarray, "m h w c"]
    train_labels: Integer[np.ndarray, " n"] | None = None
    test_labels: Integer[np.ndarray, " m"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, `(height, width, channels)`."""
        return self.train.shape[1:]

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, train={self.train.shape}, test={self.test.shape})"


def load(
    name_or_path: str | Path,
    *,
    image_size: int | None = None,
    num_images: int | None = None,
    test_fraction: float = 0.15,
    seed: int = 0,
    value_range: tuple[float | int, float | int] | None = None,
) -> Dataset:
    """Load images, scaled to [-1, 1], with a held-out part.

    `name_or_path` is, in this order,

    - `"digits"` (scikit-learn, 1 797 of 8x8), `"natural_patches"` (about 12 000 of 16x16, grey tiles of the
      photographs in scikit-learn and scikit-image), `"faces"` (scikit-image, 100 of 25x25): no download;
    - a folder: every image file in it and below, hidden ones left out. Rotation marked in EXIF is applied; of an
      animation the first frame counts; transparent pixels are laid over white; 16 bits are rounded to 8. If all images
      are grey there is one channel, else three;
    - a `.npy` file, or a `.npz` file with the key `images` and maybe `labels`: `(n, height, width)` or `(n, height,
      width, channels)`, uint8 or floating point in [-1, 1]; of any other scale with `value_range`;
    - the name of a TFDS image set such as `"mnist"` or `"cifar10"`, looked for in `TFDS_DATA_DIR` and decoded once
      into `$XDG_CACHE_HOME/jaxcreativity` (else `~/.cache/jaxcreativity`). A TFDS set's own test split is the held-out
      part, whole.

    The same arguments give the same arrays. Held-out images that equal a training image, pixel by pixel, are dropped,
    so that nothing in `test` was trained on even if the source repeats itself.

    Args:
        name_or_path: see above.
        image_size: height and width in pixels. Images are cropped to the central square, then resized with Pillow's
            Lanczos filter, which widens with the reduction (no aliasing); overshoot is cut to [-1, 1]. `None` keeps
            the size of the source, which must then be one size.
        num_images: size of the training set: the first so many of a shuffle by `seed`, so that a smaller set is part
            of a larger one. `None` takes all, in the order of the source. The held-out part does not depend on it.
        test_fraction: share of the source that is held out where it has no test split of its own; in (0, 1).
        seed: of the split and of the choice of `num_images`.
        value_range: of an array file, the values that become -1 and 1: `(0, 1)`, `(0, 65535)`. Without it values that
            are no uint8 must lie in [-1, 1] and some be negative: images in [0, 1] would be taken for bright ones.

    Raises:
        ValueError: for an unknown or absent set, an unreadable file, images of mixed sizes without `image_size`, values
            of another scale than `value_range`, or `value_range` for what is no array file, fewer than two images, more
            `num_images` than there are, `test_fraction` outside (0, 1), or a `seed` that is no non-negative integer.

    Example:
        >>> digits = load("digits")
        >>> digits
        Dataset('digits', train=(1527, 8, 8, 1), test=(270, 8, 8, 1))
        >>> digits.train.min(), digits.train.max(), digits.train_labels.shape
        (np.float32(-1.0), np.float32(1.0), (1527,))
    """
    if image_size is not None:
        _checks.positive_int("image_size", image_size)
    if num_images is not None:
        _checks.positive_int("num_images", num_images)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie strictly between 0 and 1, got {test_fraction}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")

    if value_range is not None:
        _check_range(value_range)

    name, train_source, test_source = _open(name_or_path, image_size, value_range)
    if train_source.count < 2:
        raise ValueError(f"{name!r} has {train_source.count} image(s); need at least 2, one to train on, one held out")
    if test_source is None:
        train_rows, test_rows = train_source.split(np.random.default_rng([seed, 0]), test_fraction)
    else:
        train_rows, test_rows = np.arange(train_source.count), np.arange(test_source.count)
    train_rows = _limit(name, train_rows, num_images, seed)

    if test_source is None:  # one read, so that both parts get the same number of channels
        images, labels = train_source.read(np.concatenate([train_rows, test_rows]))
        cut = train_rows.size
        train, test = images[:cut], images[cut:]
        train_labels, test_labels = (None, None) if labels is None else (labels[:cut], labels[cut:])
    else:
        train, train_labels = train_source.read(train_rows)
        test, test_labels = test_source.read(test_rows)

    fresh = _not_in(test, train)
    if not fresh.any():
        raise ValueError(f"every held-out image of {name!r} is a copy of a training image; remove the repeated images")
    test_labels = None if test_labels is None else test_labels[fresh]
    return Dataset(name, _to_float(train), _to_float(test[fresh]), train_labels, test_labels)


def _check_range(value_range):
    if len(value_range) != 2 or not -np.inf < value_range[0] < value_range[1] < np.inf:
        raise ValueError(f"value_range must be two numbers, the lower one first, got {value_range}")


def _open(
    name_or_path: str | Path, image_size: int | None, value_range: tuple[float | int, float | int] | None
) -> tuple[str, ImageSource, ImageSource | None]:
    """The name, the training images and, where the set has its own, the test images."""
    name = str(name_or_path)
    path, is_embedded = Path(name).expanduser(), name in EMBEDDED and not isinstance(name_or_path, Path)
    if value_range is not None and (is_embedded or not path.is_file()):
        raise ValueError(f"value_range is for array files; {name!r} is none, and the scale of its images is known")
    if is_embedded:
        return name, EMBEDDED[name](image_size), None
    if name and path.is_dir():
        return name, _files.folder(path, image_size), None
    if name and path.is_file():
        return name, _arrays.array_file(path, image_size, value_range), None
    if not name or isinstance(name_or_path, Path) or path.suffix in _arrays.ARRAY_SUFFIXES or name[0] in "./~\\":
        raise ValueError(f"no such file or folder: {name!r}; sets by name: {', '.join(EMBEDDED)}, or a TFDS name")
    return (name, *_tfds_images.dataset(name, image_size, also_known=tuple(EMBEDDED)))


def _limit(name, rows, num_images, seed):
    if num_images is None:
        return rows
    if num_images > rows.size:
        raise ValueError(f"num_images={num_images}, but {name!r} has {rows.size} training images; ask for at most that")
    return np.random.default_rng([seed, 1]).permutation(rows)[:num_images]


def _not_in(test, train):
    # Five times faster than NumPy's `isin`, which sorts, and without a copy of the images.
    digest = lambda image: hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest()  # noqa: E731
    seen = set(map(digest, train))
    return np.array([digest(image) not in seen for image in test])


def _to_float(images):
    if images.dtype == np.uint8:
        scaled = images.astype(np.float32)
        scaled /= 127.5  # in place: 50 000 colour images of 32x32 are 600 MB
        scaled -= 1
        return scaled
    return images.astype(np.float32, copy=False)
