"""An index of all patches of a training set: which of them are near each other."""

import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray
from tqdm import tqdm

from jaxcreativity import _checks, _folder, _pytree
from jaxcreativity._digest import digest
from jaxcreativity.theory._index import build as building
from jaxcreativity.theory._index.cells import Cells
from jaxcreativity.theory.patches._classes import Classes, classes
from jaxcreativity.theory.patches._geometry import Boundary, check_window

VERSION = 4
"""Of what a file holds; part of its name."""


@_pytree.dataclass
class PatchIndex:
    """The patches of a training set in cells of patches that are near each other; made by `build_index`.

    Args:
        data: `(n, height, width, channels)`.
        cells: of the classes of positions whose patches are compared, those of one shape together.
        classes: the positions.
        patch_size: k.
        boundary: what windows do at the border.
    """

    data: Float[Array, "n height width channels"]
    cells: tuple[Cells, ...]
    classes: tuple[Classes, ...]
    patch_size: int = _pytree.static()
    boundary: Boundary = _pytree.static()

    @property
    def num_bytes(self) -> int:
        """Bytes in memory, without the data."""
        return sum(x.nbytes for x in jax.tree.leaves((self.cells, self.classes)))


def build_index(
    data: Float[ArrayLike, "n height width channels"],
    patch_size: int,
    *,
    boundary: Boundary,
    num_cells: int | None = None,
    key: PRNGKeyArray,
    cache_dir: str | Path | None = None,
) -> PatchIndex:
    """Index of all patches of a training set, for `IndexedLocalDenoiser`.

    Patches are halved again and again at the median of the principal coordinate that varies most: a tree, made from a
    sample, whose leaves are cut into cells of one size. At a broken border each class of positions has a tree of its
    own. Progress is shown, after the size of the index. A killed run goes on where it was if it has a `cache_dir`.

    Args:
        data: training images, floating point.
        patch_size: k, odd, in pixels.
        boundary: `"circular"`, `"interior"` or `"broken"`, as of `LocalDenoiser`.
        num_cells: cells of the largest class, a power of two; by default about 300 patches are in a cell.
        key: random key.
        cache_dir: folder that keeps indices under a digest of data and settings; `None` keeps nothing.

    Raises:
        ValueError: for bad data, patch sizes and boundaries, more cells than patches, more than 2^31 patches, or a
            damaged file in `cache_dir`.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (20, 8, 8, 1))
        >>> index = jc.theory.patches.build_index(x, 3, boundary="interior", num_cells=8, key=jax.random.key(1))
        >>> [cells.keys.shape for cells in index.cells]  # 20 x 36 patches in 8 cells of 16 parts
        [(1, 8, 16, 6)]
    """
    data = _checks.examples("data", data, ndim=4)
    check_window(patch_size, data.shape[1:3], True, boundary)
    kinds = tuple(classes(data.shape[1:3], patch_size, boundary))
    largest = len(data) * max(kind.keys.shape[1] for kind in kinds)
    if largest >= 2**31:
        raise ValueError(f"an index numbers at most 2^31 patches of a class, got {largest}; use fewer images")
    per_cell = largest / building.checked_num_cells(num_cells, largest)
    cells, name = None, None
    if cache_dir is not None:
        settings = f"{patch_size}-{boundary}-{num_cells}-{digest(key)}"
        name = Path(cache_dir) / f"patches-{VERSION}-{digest(data)}-{settings}.npz"
        if name.exists():
            cells = building.load(name, len(kinds))
    if cells is None:
        cells = _build(data, kinds, per_cell, key, name)
    return PatchIndex(data, tuple(cells), kinds, patch_size, boundary)


def _build(data, kinds, per_cell, key, name):
    n = len(data)
    counts = [building.cells_per_class(n * kind.keys.shape[1], per_cell) for kind in kinds]
    size = sum(
        len(kind.keys) * building.size_in_bytes(n * kind.keys.shape[1], count, kind.mask[0].size * data.shape[3])
        for kind, count in zip(kinds, counts, strict=True)
    )
    where = f"in memory and in {name.parent}" if name else "in memory"
    text = f"index of {sum(n * kind.keys[..., 0].size for kind in kinds):,} patches: {size / 2**20:.0f} MiB {where}"
    tqdm.write(text, file=sys.stderr)
    parts = name and name.with_suffix(".parts")
    if name:
        name.parent.mkdir(parents=True, exist_ok=True)
        _folder.check_space(name.parent, 2 * size)
    found = []
    with tqdm(total=2 * n * sum(len(kind.keys) for kind in kinds), unit="image", desc="index") as bar:
        for i, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
            of_kind = []
            for j in range(len(kind.keys)):
                one = jax.tree.map(lambda x, j=j: x[j], kind)
                folder = parts and parts / f"{i}-{j}"
                if folder:
                    folder.mkdir(parents=True, exist_ok=True)
                source = building.Source(n, len(one.keys), one.mask.size * data.shape[3], _cut, (one, data))
                of_kind.append(building.build(source, count, jax.random.fold_in(key, 1000 * i + j), folder, bar))
            found.append(jax.tree.map(lambda *x: jnp.stack(x), *of_kind))
    if name:
        building.save(name, found)
        shutil.rmtree(parts)
    return found


def _cut(arguments, numbers):
    kind, data = arguments
    return kind.cut_keys(data, numbers // len(kind.keys), numbers % len(kind.keys))
