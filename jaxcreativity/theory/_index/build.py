"""Building the cells of an index, class by class; resumed after a kill."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from jaxcreativity import _checks, _folder
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.theory._index.cells import LEADING, into_cells, places_per_cell
from jaxcreativity.theory._index.tree import Tree

KEYS_PER_CELL = 600
"""Keys in a cell, about, where their number is not given."""

NUM_COORDINATES = 48
"""Principal coordinates in which keys are compared, at most."""

_AT_ONCE = 2**24
"""Numbers of keys that are held at once."""


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
    p = min(NUM_COORDINATES, entries)
    of_cell = (4 + p) * places_per_cell(num_keys, num_cells) + 8 * p + 4 * min(LEADING, p) + 4
    return num_cells * of_cell + 4 * entries * (p + 1)


def build(source: Source, num_cells: int, key: PRNGKeyArray, folder: Path | None, bar: tqdm) -> dict[str, np.ndarray]:
    """Cells of one class: the fields of `Cells`.

    Args:
        source: its keys.
        num_cells: a power of two.
        key: random key, of the sample that the tree is made of.
        folder: where leaves are kept until all are known; `None` to keep nothing.
        bar: counts each image twice, when its cells are found and when it is written into them.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    at_once = max(1, _AT_ONCE // source.entries)

    def points_of(numbers, tree, p) -> np.ndarray:
        of_run = partial(_points, source.cut, source.arguments)
        basis = tree.basis[:, :p]
        return np.concatenate([np.asarray(of_run(run, tree.mean, basis)) for run in _runs(numbers, at_once)])

    sample = rng.integers(0, source.num_keys, min(source.num_keys, 2**15), dtype=np.int32)
    sample = np.concatenate([np.asarray(_cut(source.cut, source.arguments, run)) for run in _runs(sample, at_once)])
    some = rng.integers(0, source.num_keys, min(source.num_keys, 32 * num_cells), dtype=np.int32)
    depth = num_cells.bit_length() - 1
    tree = Tree.fit(sample, min(NUM_COORDINATES, source.entries), depth, lambda tree: points_of(some, tree, LEADING))

    leaves = np.empty(source.num_keys, np.uint16 if depth <= 16 else np.uint32)
    images = max(1, at_once // source.keys_per_image)
    for first in range(0, source.num_images, images):
        last = min(first + images, source.num_images)
        run = slice(first * source.keys_per_image, last * source.keys_per_image)
        part = folder and folder / f"{first}.npy"
        if part and part.exists():
            leaves[run] = np.load(part)
        else:
            numbers = np.arange(run.start, run.stop, dtype=np.int32)
            leaves[run] = tree.leaves(points_of(numbers, tree, LEADING)) if depth else 0
            if part:
                with _folder.whole(part) as path, path.open("wb") as file:
                    np.save(file, leaves[run])
        bar.update(last - first)
    report = lambda share: bar.update(share * source.num_images)  # noqa: E731
    return _cells(into_cells(leaves, num_cells), tree, points_of, report)


def _cells(keys, tree, points_of, report) -> dict[str, np.ndarray]:
    """Cells of keys in the order of a tree; coordinates in whole numbers up to 127 of a unit."""
    (num_cells, size), p, dtype = keys.shape, tree.basis.shape[1], tree.mean.dtype
    points = np.empty((num_cells, p, size), np.int8)
    centre, unit, spread = (np.empty((num_cells, n), dtype) for n in (p, p, min(LEADING, p)))
    step = max(1, _AT_ONCE // (4 * size * p))  # 4: rounding makes copies
    for first in range(0, num_cells, step):
        run = slice(first, min(first + step, num_cells))
        there = (keys[run] >= 0)[..., None]
        found = points_of(np.maximum(keys[run], 0).ravel(), tree, p).reshape(*keys[run].shape, p)
        centre[run] = found.mean(axis=1, where=there)
        found = np.where(there, found - centre[run, None], 0)
        spread[run] = np.square(found[..., :LEADING]).sum(axis=1) / there.sum(axis=1)
        largest = np.abs(found).max(axis=1)
        unit[run] = np.where(largest > 0, largest, 1) / 127
        points[run] = np.rint(found / unit[run, None]).swapaxes(1, 2)
        report((run.stop - run.start) / num_cells)
    num_keys = (keys >= 0).sum(axis=1, dtype=np.int32)
    return {
        "keys": keys, "points": points, "mean": tree.mean, "basis": tree.basis, "centre": centre, "unit": unit,
        "spread": spread, "num_keys": num_keys,
    }  # fmt: skip


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
