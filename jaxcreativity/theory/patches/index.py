"""An index of all patches of a training set: which of them are near each other."""

from pathlib import Path

import jax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity.theory._index.build import Source
from jaxcreativity.theory._index.cells import Cells
from jaxcreativity.theory._index.keeping import found_or_built
from jaxcreativity.theory.patches._classes import Classes, classes
from jaxcreativity.theory.patches._geometry import Boundary, check_window


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
        num_cells: cells of the largest class, a power of two; by default about 600 patches are in a cell.
        key: random key.
        cache_dir: folder that keeps indices under a digest of data and settings; `None` keeps nothing.

    Raises:
        ValueError: for bad data, patch sizes and boundaries, more cells than patches, more than 2^31 patches, or a
            damaged file in `cache_dir`.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (20, 8, 8, 1))
        >>> index = jc.theory.patches.build_index(x, 3, boundary="interior", num_cells=8, key=jax.random.key(1))
        >>> [cells.keys.shape for cells in index.cells]  # 720 patches in 8 cells with 96 places each
        [(1, 8, 96)]
    """
    data = _checks.examples("data", data, ndim=4)
    check_window(patch_size, data.shape[1:3], True, boundary)
    kinds = tuple(classes(data.shape[1:3], patch_size, boundary))
    sources = [
        [
            Source(len(data), len(one.keys), one.mask.size * data.shape[3], _cut, (one, data))
            for one in (jax.tree.map(lambda x, j=j: x[j], kind) for j in range(len(kind.keys)))
        ]
        for kind in kinds
    ]
    cells = found_or_built(sources, data, num_cells, key, cache_dir, f"patches-{patch_size}-{boundary}")
    return PatchIndex(data, cells, kinds, patch_size, boundary)


def _cut(arguments, numbers):
    kind, data = arguments
    return kind.cut_keys(data, numbers // len(kind.keys), numbers % len(kind.keys))
