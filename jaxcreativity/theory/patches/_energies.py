"""Energies of query patches and key patches, from matrix products of a tile at a time.

`|u - v|^2 = |u|^2 - 2 u v + |v|^2`, and a product of all patches of two images repeats itself: a window is a stack of
strips one pixel high, and a strip is in as many windows as these have rows. So one product compares all strips, with
k times fewer operations than all k x k windows, and k additions, down both windows at once, give the energies.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity._numerics.windows import Windows
from jaxcreativity.theory.patches._keys import KeyImages

Precision = Literal["tensorfloat32", "bfloat16"]
"""What the entries of patches are rounded to before they are multiplied."""

Pair: TypeAlias = tuple[Array, Array]

MANTISSA_BITS = {"tensorfloat32": 10, "bfloat16": 7}

SMALL, LARGE = 2**19, 2**21
"""Energies held at once that stay within the cache of a CPU's core, or of the CPU; accelerators hold more."""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The windows of an image in tiles of some columns, each to be compared with the windows of a chunk of images.

    Made by `of`.

    Args:
        strips: `(tiles, entries, strips)`; those of a tile by row and then by column.
        height: height of a strip: 1, or that of a window.
        queries: windows of the image.
        keys: windows of the training images.
        chunk_size: training images in a chunk, if the source does not say.
        weights: `(entries,)` what squared differences are multiplied by, for strips as high as windows; or `None`.
        precision: what entries are rounded to before they are multiplied, or `None`.
    """

    strips: Array
    height: int
    queries: Windows
    keys: Windows
    chunk_size: int
    weights: Array | None
    precision: Precision | None

    @classmethod
    def of(
        cls,
        y: Float[Array, "height width c"],
        queries: Windows,
        keys: Windows,
        source: KeyImages,
        *,
        height: int,
        size: int,
        weights: Float[Array, " entries"] | None = None,
        precision: Precision | None = None,
    ) -> "Tiles":
        """All windows of `y`, in tiles.

        Args:
            y: image, less the source's mean.
            queries: its windows.
            keys: windows of the training images.
            source: training images.
            height: height of a strip: 1, or that of a window.
            size: energies of a tile and a chunk, `SMALL` or `LARGE`.
            weights: as in `Tiles`.
            precision: as in `Tiles`.
        """
        size = _on_device(size)
        num_columns, products = queries.shape[1], _products(queries, keys, height)
        chunk_size = source.chunk_size or max(1, size // products)
        columns = tile_columns(num_columns, min(num_columns, -(-products * chunk_size // size)))
        strips = jnp.transpose(queries.strips(y[None], height)[0][columns], (0, 3, 2, 1))
        strips = strips.reshape(*strips.shape[:2], -1)
        return cls(strips, height, queries, keys, chunk_size, weights, precision)

    @property
    def width(self) -> int:
        """Columns of windows in a tile."""
        return self.strips.shape[2] // self.queries.num_strips(self.height)

    @property
    def q(self) -> int:
        """Windows in a tile."""
        return self.queries.shape[0] * self.width

    def energies(
        self,
        images: Float[Array, "n height width c"],
        penalty: Float[Array, " n"],
        factor: Float[ArrayLike, ""] = 1.0,
        *,
        whole: bool = False,
    ) -> Callable[[Float[Array, "entries strips"]], Float[Array, "columns h q"]]:
        """Function of one tile: energies of all keys, by column of windows, and the tile's queries.

        They are `factor (|v|^2 - 2 u v + penalty)`, the factor at no cost.

        Args:
            images: a chunk of the source's, centred.
            penalty: what is added to the energies of each.
            factor: what energies are multiplied by.
            whole: whether `|u|^2` is added.
        """
        keys = self.keys.strips(images, self.height)
        weighted = keys if self.weights is None else keys * self.weights.reshape(1, 1, 1, -1)
        num_rows = self.keys.size[0] - self.height + 1
        # The penalty by equal parts, so that it is added in the product.
        norms = jnp.sum(weighted * keys, axis=-1) + penalty[:, None, None] / num_rows
        weighted, norms = (x.reshape(-1, *x.shape[2:]) for x in (weighted, norms))

        def of_tile(strips):
            # A row (v, |v|^2, 1) a key, a column (-2 u, 1, |u|^2) a query.
            ones, own = jnp.ones_like(strips[:1]), [norms[..., None]]
            of_queries = [ones]
            if whole:
                own, of_queries = [*own, jnp.ones_like(own[0])], [ones, self.squares(strips)[None]]
            rows, columns = (weighted, jnp.concatenate(own, axis=-1)), (-2 * strips, jnp.concatenate(of_queries))
            if self.precision is not None:  # it rounds patches, without the factor
                return factor * _down_both(rows, columns, num_rows, self.width, self.precision)
            return _down_both(rows, jax.tree.map(lambda x: factor * x, columns), num_rows, self.width, None)

        return of_tile

    def squares(self, strips: Float[Array, "entries strips"]) -> Float[Array, " strips"]:
        """`|u|^2` of each strip, weighted."""
        squares = jnp.square(strips)
        return jnp.sum(squares if self.weights is None else squares * self.weights[:, None], axis=0)

    def query_squares(self) -> Float[Array, "h w"]:
        """`|u|^2` of every window, weighted."""
        of_strips = jax.vmap(self.squares)(self.strips)
        rows = range(self.keys.size[0] - self.height + 1)
        return self.on_grid(sum(of_strips[:, i * self.width : i * self.width + self.q] for i in rows))

    def off_grid(self, tree):
        """Arrays `(rows, columns, ...)` of the image's windows as `(tiles, ..., q)`."""
        columns = tile_columns(self.queries.shape[1], len(self.strips))

        def of_tiles(x):
            x = jnp.moveaxis(x[:, columns], 1, 0)  # (tiles, rows, width, ...)
            return jnp.moveaxis(x.reshape(len(x), self.q, *x.shape[3:]), 1, -1)

        return jax.tree.map(of_tiles, tree)

    def on_grid(self, tree):
        """Arrays `(tiles, ..., q)` as `(rows, columns, ...)` of the image's windows."""
        num_rows, num_columns = self.queries.shape
        tile, column = np.divmod(np.arange(num_columns), self.width)
        place = self.width * np.arange(num_rows)[:, None] + column
        return jax.tree.map(lambda x: x[tile, ..., place], tree)


def examples_at_once(queries: Windows, keys: Windows, num_images: int) -> int:
    """Number of examples that fill a small tile together; 1 if one fills several.

    Args:
        queries: windows of an example.
        keys: windows of a training image.
        num_images: number of training images.
    """
    return max(1, _on_device(SMALL) // max(1, _products(queries, keys, 1) * num_images))


def tile_columns(num_columns: int, num_tiles: int) -> np.ndarray:
    """`(tiles, width)` columns of windows of each tile; the last ones are repeated.

    Args:
        num_columns: columns of windows.
        num_tiles: tiles.
    """
    width = -(-num_columns // num_tiles)
    return np.minimum(np.arange(num_tiles * width), num_columns - 1).reshape(num_tiles, width)


def product(a: Float[Array, "m d"], b: Float[Array, "d n"], precision: Precision | None) -> Float[Array, "m n"]:
    """Matrix product in full precision, or with `precision` of rounded entries, summed in their own type.

    Args:
        a: left factor.
        b: right factor.
        precision: what entries are rounded to, or `None`.
    """
    if precision is None:
        return jnp.matmul(a, b, precision="highest")
    if precision == "bfloat16":
        return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=a.dtype)
    # Rounded here, so that every backend, whatever it multiplies with, returns the same.
    a, b = (jax.lax.reduce_precision(x, 8, MANTISSA_BITS[precision]) for x in (a, b))
    return jnp.matmul(a, b, precision=precision)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _down_both(rows: Pair, columns: Pair, height: int, width: int, precision: Precision | None) -> Array:
    """Products of all windows, `(n, h, q)`, each some strips one below the other, from products of strips.

    It changes by products of windows, with more operations: the transpose of a sum of slices is slow on CPUs.

    Args:
        rows: strips of columns of keys, `(n, strips, d)`: entries that `precision` rounds, and others.
        columns: strips of a tile of queries, `(d, strips)`, by row and then by column; the same of them.
        height: strips in a window.
        width: columns of queries.
        precision: as for `product`.
    """
    h, q = rows[0].shape[1] - height + 1, columns[0].shape[1] - (height - 1) * width
    products = _of_pairs(rows, columns, precision)
    # Row i of both windows: i strips further for a key, i times `width` further for a query.
    return functools.reduce(jnp.add, (products[:, i : i + h, i * width : i * width + q] for i in range(height)))


@_down_both.defjvp
def _(height, width, precision, primals, tangents):
    h, q = primals[0][0].shape[1] - height + 1, primals[1][0].shape[1] - (height - 1) * width

    def of_windows(rows, columns):
        rows = (jnp.concatenate([x[:, i : i + h] for i in range(height)], axis=2) for x in rows)
        columns = (jnp.concatenate([x[:, i * width : i * width + q] for i in range(height)]) for x in columns)
        return _of_pairs(tuple(rows), tuple(columns), precision)

    return _down_both(*primals, height, width, precision), jax.jvp(of_windows, primals, tangents)[1]


def _of_pairs(rows, columns, precision):
    n, h, _ = rows[0].shape
    rows = tuple(x.reshape(n * h, -1) for x in rows)
    if precision is None:  # one product
        out = product(jnp.concatenate(rows, axis=1), jnp.concatenate(columns), None)
    else:
        out = product(rows[0], columns[0], precision) + product(rows[1], columns[1], None)
    return out.reshape(n, h, -1)


def _products(queries, keys, height) -> int:
    """Products of strips of queries with strips of one image."""
    return keys.shape[1] * keys.num_strips(height) * queries.shape[1] * queries.num_strips(height)


def _on_device(size) -> int:
    return size if jax.default_backend() == "cpu" else 2**25
