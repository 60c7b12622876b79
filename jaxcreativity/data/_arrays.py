"""Images of the user's own: one NumPy file."""

from pathlib import Path

import numpy as np

from jaxcreativity.data._source import ImageSource, from_arrays

ARRAY_SUFFIXES = (".npy", ".npz")

ValueRange = tuple[float | int, float | int]


def array_file(path: Path, image_size: int | None = None, value_range: ValueRange | None = None) -> ImageSource:
    """Images in a `.npy` file, or in a `.npz` file under the key `images`, with `labels` if that key is there.

    The array is `(n, height, width, channels)` with 1 to 4 channels, or `(n, height, width)`; uint8 from 0 to 255, or
    floating point in [-1, 1], or of any real type with values in `value_range`.

    Args:
        path: of the file.
        image_size: side to resize to.
        value_range: the values that become -1 and 1.

    Raises:
        ValueError: if the file cannot be read or holds anything else, or where the values look like those of another
            scale and `value_range` does not say which.
    """
    if path.suffix not in ARRAY_SUFFIXES:
        raise ValueError(f"{str(path)!r} is a file, but neither .npy nor .npz; give the folder that the image is in")
    try:
        with path.open("rb") as file:  # opened here, because NumPy leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                images, labels = loaded, None
            elif "images" in loaded:
                images, labels = loaded["images"], loaded.get("labels")
            else:
                raise ValueError(f"it has the keys {loaded.files}, but not 'images'")
    except Exception as error:  # a damaged archive raises BadZipFile, EOFError, OSError, zlib.error, ...
        raise ValueError(f"cannot read images from {str(path)!r}: {error}") from error
    return from_arrays(
        _scaled(path, _check_shape(path, images), value_range), _check_labels(path, labels, images), image_size
    )


def _check_shape(path, images):
    """The images `(n, h, w, c)`."""
    shape = images.shape
    if images.ndim == 3 and shape[-1] in (3, 4) and shape[1] >= 16:
        raise ValueError(
            f"the array {shape} in {str(path)!r} looks like one colour image; images must have shape (n, height, "
            f"width, channels). If these are {shape[0]} grey images, save images[..., None]"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] > 4:
        raise ValueError(
            f"images in {str(path)!r} must have shape (n, height, width) or (n, height, width, channels) with 1 to 4 "
            f"channels last, got {images.shape}"
        )
    _, first, middle, last = images.shape
    if first <= 4 and first != middle == last > 1:
        raise ValueError(
            f"images {shape} in {str(path)!r} look as if channels came first ({first} of {middle}x{last} pixels); save "
            "them with channels last: np.moveaxis(images, 1, -1)"
        )
    return images


def _scaled(path, images, value_range):
    """uint8 from 0 to 255, or float32 in [-1, 1]."""
    of = f"images in {str(path)!r}"
    if not (
        images.dtype == bool or np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)
    ):
        raise ValueError(f"{of} must be real numbers, got {images.dtype}")
    low, high = images.min(), images.max()
    if value_range is not None:
        return _from_range(of, images, low, high, value_range)
    say = "value_range=({}, {}) tells which values are black and white".format
    if images.dtype == np.uint8:
        if high <= 1:
            raise ValueError(f"{of} are uint8, but none is above {high}: {say(0, 1)}, or value_range=(0, 255)")
        return images
    if not np.issubdtype(images.dtype, np.floating):
        largest = np.iinfo(images.dtype).max if np.issubdtype(images.dtype, np.unsignedinteger) else max(int(high), 1)
        raise ValueError(f"{of} must be uint8 or floating point in [-1, 1], got {images.dtype}; {say(0, largest)}")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{of} must be finite, got values from {low} to {high}")
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"floating-point {of} must lie in [-1, 1], got values from {low} to {high}; rescale them, or "
            f"{say(min(low, 0), high)}"
        )
    if low >= 0:
        raise ValueError(
            f"floating-point {of} must be scaled to [-1, 1], but they go from {low:.4g} to {high:.4g} as if scaled to "
            f"[0, 1]: save 2 * images - 1, or {say(0, 1)}; value_range=(-1, 1) takes them as they are"
        )
    return images.astype(np.float32)


def _from_range(of, images, low, high, value_range):
    bottom, top = value_range
    if not (low >= bottom and high <= top):
        raise ValueError(f"{of} must lie in value_range={tuple(value_range)}, got values from {low} to {high}")
    if images.dtype == np.uint8 and (bottom, top) == (0, 255):
        return images
    dtype = np.result_type(images.dtype, np.float32)
    if (bottom, top) != (-1, 1):  # else as they are, without rounding
        images = 2 * ((images.astype(dtype) - dtype.type(bottom)) / dtype.type(top - bottom)) - 1
    return images.astype(np.float32)


def _check_labels(path, labels, images):
    if labels is None:
        return None
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels in {str(path)!r} must be {len(images)} integers, one per image, got {labels.dtype} {labels.shape}"
        )
    return labels.astype(np.int64)
