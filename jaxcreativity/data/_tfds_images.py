"""Image sets of TensorFlow Datasets by name, read without TensorFlow and decoded once.

TFDS keeps images as PNG or JPEG records. They are decoded in threads into one uint8 array per split, which is kept in
`$XDG_CACHE_HOME/jaxcreativity` (else `~/.cache/jaxcreativity`): the next load is as fast as the disk.
"""

import difflib
import hashlib
import importlib.util
import io
import os
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np

from jaxcreativity.data._source import ImageSource, decode_in_threads, fit_to_square, random_split, stack_same_size

_BATCH = 256
_PROBE_SECONDS = 10.0


def dataset(
    name: str, image_size: int | None, also_known: tuple[str, ...] = ()
) -> tuple[ImageSource, ImageSource | None]:
    """The training images of a TFDS set and, if it has such a split, its test images.

    The set is looked for in `TFDS_DATA_DIR` (else in TFDS's default, `~/tensorflow_datasets`) in a format with random
    access, such as array_record. A set that is not there is downloaded and prepared, for which TFDS itself needs
    TensorFlow; without it, or without a network, there is an error at once.

    Args:
        name: name of the set, with an optional configuration and version: `"mnist"`, `"emnist/letters"`.
        image_size: size to which images are cropped and resized before they are cached, or `None`.
        also_known: further names for the error message.

    Raises:
        ValueError: if there is no such set, it is absent and cannot be prepared, or it has no images.
    """
    # The caller's setting now, not the one when TFDS was imported.
    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    tfds = _import_tfds(name)
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except Exception as error:  # unknown names, versions and configurations raise errors of several kinds
        raise ValueError(_unknown(tfds, name, data_dir, also_known, error)) from None
    if not builder.is_prepared():
        _prepare(tfds, builder)
    if "train" not in builder.info.splits:
        raise ValueError(f"TFDS set {name!r} has no 'train' split, only {', '.join(builder.info.splits)}")
    image_key, label_key = _feature_keys(tfds, name, builder.info.features)

    def source(split):
        count = builder.info.splits[split].num_examples
        reader = _Reader(tfds, builder, split, image_key, label_key, image_size)
        return ImageSource(count, lambda rows: _read(reader, count, rows), random_split(count))

    return source("train"), source("test") if "test" in builder.info.splits else None


def cache_dir() -> Path:
    """Where decoded sets are kept: `$XDG_CACHE_HOME/jaxcreativity`, else `~/.cache/jaxcreativity`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcreativity"


class _Reader:
    """Decodes chosen rows of one split."""

    def __init__(self, tfds, builder, split, image_key, label_key, image_size):
        self.name = f"{builder.info.full_name} {split}"
        self.image_key, self.label_key, self.image_size = image_key, label_key, image_size
        self.mode = "L" if builder.info.features[image_key].shape[-1] == 1 else "RGB"
        # Decoding is done here: TFDS does it in one thread.
        self._open = lambda: builder.as_data_source(split, decoders={image_key: tfds.decode.SkipDecoding()})
        info = builder.info.splits[split]
        identity = [split, info.num_examples, self.mode, image_key, label_key, _fit_and_decoders(), *_files(info)]
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
        size = f"{image_size}px" if image_size else "native"
        self.cache_file = cache_dir() / f"{builder.info.full_name.replace('/', '-')}-{split}-{size}-{digest}.npz"

    def decode(self, rows):
        try:
            records = self._open()
        except NotImplementedError as error:
            raise ValueError(
                f"{self.name} is prepared in a format that only TensorFlow reads; prepare it again in array_record, "
                'e.g. tfds.builder(name, file_format="array_record").download_and_prepare()'
            ) from error

        def decode(batch):
            return [self._decode_one(record) for record in records.__getitems__(batch)]

        batches = [rows[i : i + _BATCH].tolist() for i in range(0, len(rows), _BATCH)]
        try:
            pairs = decode_in_threads(decode, batches, f"decoding {self.name}")
        except Exception as error:
            raise ValueError(f"the prepared files of {self.name} are damaged, prepare them again: {error}") from error
        images = stack_same_size([image for image, _ in pairs], self.name)
        return images, np.array([label for _, label in pairs], np.int64) if self.label_key else None

    def _decode_one(self, record):
        from PIL import Image

        with Image.open(io.BytesIO(record[self.image_key])) as image:
            image = image.convert(self.mode)
            if self.image_size is not None:
                image = fit_to_square(image, self.image_size)
            pixels = np.asarray(image)
        return pixels[..., None] if pixels.ndim == 2 else pixels, record[self.label_key] if self.label_key else None


def _files(split):
    """Name, size and time of the files of a split: copies of one version may hold other images."""
    for path in split.filepaths:
        found = path.stat() if path.exists() else None
        yield path.name, found and (found.length, found.mtime)


def _fit_and_decoders():
    """What else the pixels depend on: `fit_to_square`, and the libraries that decode and resize."""
    from PIL import __version__, features

    return "central square, Lanczos", __version__, features.version("jpg"), features.version("zlib")


def _read(reader, count, rows):
    """The rows from the cache; without one, decode all and fill it, or only the rows if they are few."""
    cached = _load_cache(reader, count)
    if cached is None:
        if rows.size <= count // 4:
            return reader.decode(rows)
        cached = reader.decode(np.arange(count))
        _save_cache(reader, *cached)
    images, labels = cached
    if rows.size == count and (rows == np.arange(count)).all():
        return images, labels
    return images[rows], None if labels is None else labels[rows]


def _load_cache(reader, count):
    """The cached split, or `None` if there is none or it is damaged (it is then made anew)."""
    if not reader.cache_file.is_file():
        return None
    try:
        with reader.cache_file.open("rb") as file:  # opened here, because NumPy leaves a damaged archive open
            stored = np.load(file, allow_pickle=False)
            images = stored["images"]  # the archive's checksums are compared here
            labels = stored["labels"] if reader.label_key else None
        intact = images.dtype == np.uint8 and images.ndim == 4 and len(images) == count
        return (images, labels) if intact and (labels is None or labels.shape == (count,)) else None
    except Exception:  # BadZipFile, EOFError, OSError, KeyError, zlib.error, ...: all mean the same here
        return None


def _save_cache(reader, images, labels):
    """Write under another name and rename, so that a killed or a parallel run never leaves half a file."""
    folder, temporary = reader.cache_file.parent, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, images=images, **({} if labels is None else {"labels": labels}))
        os.replace(temporary, reader.cache_file)
    except OSError as error:
        warnings.warn(f"cannot cache decoded images in {folder} ({error}); set XDG_CACHE_HOME", stacklevel=2)
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _import_tfds(name):
    try:
        import array_record  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ValueError(
            f"{name!r} is no file or folder here, and reading a TFDS set of that name needs tensorflow-datasets and "
            f"array-record ({error}); install them, or pass a folder of images or a .npz file"
        ) from None
    return tfds


def _unknown(tfds, name, data_dir, also_known, error):
    bare = name.partition("/")[0].partition(":")[0]
    known = (*also_known, *tfds.list_builders(with_community_datasets=False))
    if bare in known:
        return f"TFDS cannot open {name!r} in {data_dir or 'its default folder'}: {str(error).splitlines()[0]}"
    close = difflib.get_close_matches(bare, known, n=3)
    return (
        f"{name!r} is neither a file or folder nor a set by that name"
        + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ".")
        + f" Sets without download: {', '.join(also_known)}; of TFDS: mnist, fashion_mnist, cifar10, celeb_a and every"
        " other image set. A set of your own is found in TFDS_DATA_DIR."
    )


def _feature_keys(tfds, name, features):
    of_kind = lambda kind: [key for key, feature in features.items() if isinstance(feature, kind)]  # noqa: E731
    images, labels = of_kind(tfds.features.Image), of_kind(tfds.features.ClassLabel)
    image_key = "image" if "image" in images else images[0] if len(images) == 1 else None
    if image_key is None or np.dtype(features[image_key].np_dtype) != np.uint8:
        raise ValueError(f"TFDS set {name!r} has no single 8-bit image per example; its features are {list(features)}")
    return image_key, "label" if "label" in labels else labels[0] if len(labels) == 1 else None


def _prepare(tfds, builder):
    """Download a set and prepare it in array_record."""
    name, where = builder.info.full_name, builder.data_path.parent.parent
    absent = f"the images of {name!r} are not in {where}"
    remedy = "set TFDS_DATA_DIR to a folder that has them in array_record format"
    # TFDS reads without TensorFlow, but encodes with it: say so now, not after the download.
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{absent}; {remedy}, or install tensorflow and importlib_resources, with which TFDS downloads and "
            "prepares the set once (later loads do not need them)"
        )
    try:
        urls = list(builder.url_infos)
        if urls and not _reachable(urls[0]):
            raise ValueError(f"{absent} and {urls[0]} cannot be reached; {remedy}")
        builder.download_and_prepare()
    except ValueError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{absent}, and TFDS cannot prepare them: {reason[0]}; {remedy}") from error


def _reachable(url):
    """Whether the server of `url` answers; TFDS itself tries each file for minutes before it gives up."""
    import requests

    answered = threading.Event()

    def probe():
        try:
            requests.head(url, timeout=_PROBE_SECONDS)
        except Exception:  # no name, no route, no answer, a bad proxy, ...: all mean the same here
            return
        answered.set()

    # In a thread, because the timeout of `requests` does not cover the look-up of the name.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return answered.is_set()
