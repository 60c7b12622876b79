"""Building the cells of an index: shown, resumed after a kill, and kept under a digest of what determines them."""

import dataclasses
import math
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from jaxcreativity import _checks, _folder
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.theory._index.cells import Cells, into_cells, into_parts, num_parts
from jaxcreativity.theory._index.tree import Tree

KEYS_PER_CELL = 600
"""Keys in a cell, about, where their number is not given."""

NUM_COORDINATES = 16
"""Principal coordinates in which cells are compared."""

_AT_ONCE = 2**24
"""Numbers of keys that are held at once."""

_FIELDS = tuple(field.name for field in dataclasses.fields(Cells))


@dataclasses.dataclass(frozen=True)
class Source:
    """The keys of one class.

    Args:
        num_images: images that keys are taken from.
        keys_per_image: keys of each, numbered image by image.
        entries: of a key.
        cut: arguments, numbers -> keys; compiled once for all classes.
        arguments: arrays that it needs.
    """

    num_images: int
    keys_per_image: int
    entries: int
    cut: Callable[[Any, Int[Array, " m"]], Float[Array, "m d"]]
    arguments: Any

    @property
    def num_keys(self) -> int:
        """Keys in all."""
        return self.num_images * self.keys_per_image


def cells_per_class(num_keys: int, keys_per_cell: float = KEYS_PER_CELL) -> int:
    """Cells of a class: a power of two, one for few keys.

    Args:
        num_keys: keys of the class.
        keys_per_cell: keys in a cell, about.
    """
    return 2 ** max(0, round(math.log2(num_keys / keys_per_cell)))


def checked_num_cells(num_cells: int | None, num_keys: int) -> int:
    """Cells of the largest class.

    Raises:
        ValueError: unless it is a power of two and every cell has a key.
    """
    if num_cells is None:
        return cells_per_class(num_keys)
    if _checks.positive_int("num_cells", num_cells) & (num_cells - 1):
        raise ValueError(f"num_cells must be a power of two, got {num_cells}")
    if num_cells > num_keys:
        raise ValueError(f"num_cells must leave no cell without keys: at most {num_keys}, got {num_cells}")
    return num_cells


def size_in_bytes(num_keys: int, num_cells: int, entries: int) -> int:
    """Bytes of the cells of a class, in memory and on disk.

    Args:
        num_keys: keys of the class.
        num_cells: its cells.
        entries: of a key.
    """
    p, size = min(NUM_COORDINATES, entries), math.ceil(num_keys / num_cells)
    parts = num_parts(size)
    places = num_cells * parts * math.ceil(size / parts)
    of_cell = (12 + 2 * parts) * p + 4 * (parts + 1)
    return (4 + 2 * p) * places + of_cell * num_cells + 4 * entries * (p + 1) + 4


def build(source: Source, num_cells: int, key: PRNGKeyArray, folder: Path | None, bar: tqdm) -> Cells:
    """Cells of one class.

    Args:
        source: its keys.
        num_cells: a power of two.
        key: random key, of the sample that the tree is made of.
        folder: where leaves are kept until all are known; `None` to keep nothing.
        bar: counts each image twice, when its cells and when their parts are found.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    at_once = max(1, _AT_ONCE // source.entries)

    def points_of(numbers, tree) -> np.ndarray:
        of_run = partial(_points, source.cut, source.arguments)
        return np.concatenate([np.asarray(of_run(run, tree.mean, tree.basis)) for run in _runs(numbers, at_once)])

    sample = rng.integers(0, source.num_keys, min(source.num_keys, 2**15), dtype=np.int32)
    sample = np.concatenate([np.asarray(_cut(source.cut, source.arguments, run)) for run in _runs(sample, at_once)])
    some = rng.integers(0, source.num_keys, min(source.num_keys, 32 * num_cells), dtype=np.int32)
    depth = num_cells.bit_length() - 1
    tree = Tree.fit(sample, min(NUM_COORDINATES, source.entries), depth, lambda tree: points_of(some, tree))

    leaves = np.empty(source.num_keys, np.uint16 if depth <= 16 else np.uint32)
    images = max(1, at_once // source.keys_per_image)
    for first in range(0, source.num_images, images):
        last = min(first + images, source.num_images)
        run = slice(first * source.keys_per_image, last * source.keys_per_image)
        part = folder and folder / f"{first}.npy"
        if part and part.exists():
            leaves[run] = np.load(part)
        else:
            leaves[run] = tree.leaves(points_of(np.arange(run.start, run.stop, dtype=np.int32), tree)) if depth else 0
            if part:
                with _folder.whole(part) as path, path.open("wb") as file:
                    np.save(file, leaves[run])
        bar.update(last - first)
    # Most keys may be one and the same, so that what is far is known from a sample of all.
    scale = np.abs((sample - tree.mean) @ tree.basis).max() / 64 or 1
    report = lambda share: bar.update(share * source.num_images)  # noqa: E731
    return _cells(into_cells(leaves, num_cells), tree, points_of, tree.mean.dtype.type(scale), report)


def _cells(keys, tree, points_of, scale, report) -> Cells:
    """Cells of keys in the order of a tree, and their parts; coordinates in half precision in units of `scale`."""
    num_cells, size = keys.shape
    parts = num_parts(size)
    shape, p = (num_cells, parts, -(-size // parts)), tree.basis.shape[1]
    in_parts, points = np.empty(shape, np.int32), np.empty((*shape, p), np.float16)
    centre, spread, part_spread = (np.empty((num_cells, p), tree.mean.dtype) for _ in range(3))
    counts = np.empty((num_cells, parts), np.int32)
    part_centre = np.empty((num_cells, parts, p), np.float16)
    step = max(1, _AT_ONCE // (16 * size * p))  # 16: halving them makes copies
    for first in range(0, num_cells, step):
        run = slice(first, min(first + step, num_cells))
        there = (keys[run] >= 0)[..., None]
        found = points_of(keys[run].ravel(), tree).reshape(*keys[run].shape, p)
        centre[run], spread[run] = found.mean(axis=1, where=there), found.var(axis=1, where=there)
        found -= centre[run, None]
        in_parts[run], found = into_parts(keys[run], found, parts)
        there = (in_parts[run] >= 0)[..., None]
        points[run], counts[run] = found / scale, there.sum(axis=(2, 3))
        part_centre[run] = np.sum(found, axis=2, where=there) / np.maximum(counts[run, :, None], 1) / scale
        off = np.square(found - scale * part_centre[run].astype(found.dtype)[:, :, None])
        part_spread[run] = off.mean(axis=(1, 2), where=there)
        report((run.stop - run.start) / num_cells)
    return Cells(
        *map(jnp.asarray, (in_parts, points, tree.mean, tree.basis, centre, spread)),
        *map(jnp.asarray, (counts.sum(axis=1, dtype=np.int32), counts, part_centre, part_spread, scale)),
    )


@partial(jax.jit, static_argnums=0)
def _cut(cut, arguments, numbers):
    return cut(arguments, numbers)


@partial(jax.jit, static_argnums=0)
def _points(cut, arguments, numbers, mean, basis):
    return dot(cut(arguments, numbers) - mean[None], basis)


def _runs(numbers, at_once) -> Iterator[np.ndarray]:
    """Runs of one length but for the last, so that few programs are compiled."""
    for i in range(0, len(numbers), at_once):
        yield numbers[i : i + at_once]


def save(path: Path, classes: list[Cells]) -> None:
    """Keep cells in one file, whole or not at all."""
    arrays = {f"{i}.{name}": np.asarray(getattr(c, name)) for i, c in enumerate(classes) for name in _FIELDS}
    with _folder.whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def load(path: Path, number: int) -> list[Cells]:
    """Cells that `save` kept.

    Raises:
        ValueError: if the file is damaged; says what to do.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return [Cells(*(jnp.asarray(arrays[f"{i}.{name}"]) for name in _FIELDS)) for i in range(number)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the index in {path} is damaged ({error}); delete the file and build it again") from None
