"""Images of the user's own: a folder of image files, or one NumPy file."""

from pathlib import Path

import numpy as np

from jaxcreativity import _checks
from jaxcreativity.data._source import (
    ImageSource,
    decode_in_threads,
    fit_to_square,
    from_arrays,
    random_split,
    stack_same_size,
)

ARRAY_SUFFIXES = (".npy", ".npz")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_BATCH = 16


def folder(path: Path, image_size: int | None = None) -> ImageSource:
    """Every image file in a folder and below, in the order of the paths, without labels.

    Hidden files and folders are passed over. Rotation marked in EXIF is applied; of an animation the first frame
    counts; transparent pixels are laid over white; 16-bit grey is reduced to 8 bits. If every image that is read is
    grey (also when it is stored as RGB) there is one channel, else three.

    Raises:
        ValueError: if there are no image files, or (on reading) if some cannot be read, or if sizes differ and
            `image_size` is not given.
    """
    inside = lambda p: not any(part.startswith(".") for part in p.relative_to(path).parts)  # noqa: E731
    paths = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and inside(p) and p.is_file())
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


def array_file(path: Path, image_size: int | None = None) -> ImageSource:
    """Images in a `.npy` file, or in a `.npz` file under the key `images`, with `labels` if that key is there.

    The array is `(n, height, width, channels)` with 1 to 4 channels, or `(n, height, width)`; uint8 from 0 to 255, or
    floating point in [-1, 1].

    Raises:
        ValueError: if the file cannot be read or holds anything else.
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
    return from_arrays(_check_images(path, images), _check_labels(path, labels, images), image_size)


def _decode(file, image_size):
    _checks.needs("data", "PIL")
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray(np.round(np.asarray(image, dtype=np.float64) / 257).astype(np.uint8))
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


def _is_grey(image):
    return bool((image == image[..., :1]).all())


def _check_images(path, images):
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] > 4:
        raise ValueError(
            f"images in {str(path)!r} must have shape (n, height, width) or (n, height, width, channels) with 1 to 4 "
            f"channels last, got {images.shape}"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images in {str(path)!r} must be uint8 or floating point in [-1, 1], got {images.dtype}")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high) and low >= -1 and high <= 1):
        raise ValueError(
            f"floating-point images in {str(path)!r} must lie in [-1, 1], got values from {low} to {high}; "
            "rescale them (or save uint8)"
        )
    return images.astype(np.float32)


def _check_labels(path, labels, images):
    if labels is None:
        return None
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels in {str(path)!r} must be {len(images)} integers, one per image, got {labels.dtype} {labels.shape}"
        )
    return labels.astype(np.int64)
