"""The posterior over the patches of a training set, streamed: what equivariant denoisers of `theory.local` are made of.

For a query patch u and key patches v_j with own pixels t_j this is the softmax-mean of `reduce`, with energies
`E_j = |u - v_j|^2` and temperature `T = 2 sigma^2`, over chunks of images; nothing of size (queries x keys) is held.

Speed: a window is a stack of strips one pixel high. `E_j = |u|^2 - 2 u v_j + |v_j|^2` is the sum, down both windows, of
that of their strips, and a strip belongs to as many windows as it has rows to be in. One matrix product compares all
strips, with k times fewer operations than all windows; k additions give the energies.

Precision: rounding, about eps |v|^2, is divided by T. Where that could show, the leading keys are computed again by
differences (`refined_patch_means`). Keys come in blocks (one column of windows of one image). The blocks with the
smallest minima are kept apart, each with its partial sums; at the end their energies are recomputed. Every key is
counted exactly once: the same sum, only more precisely. The product itself may be taken of rounded entries, which
accelerators multiply several times as fast.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity import batching, pytree, reduce
from jaxcreativity.exponential import exp
from jaxcreativity.theory.source import MASKED, Source, no_keys
from jaxcreativity.theory.windows import Windows

NUM_KEPT = 8
"""Blocks per query whose energies are recomputed by differences."""

Precision = Literal["tensorfloat32", "bfloat16"]
"""What the entries of patches are rounded to before they are multiplied."""

MANTISSA_BITS = {"tensorfloat32": 10, "bfloat16": 7}


@pytree.dataclass
class Blocks:
    """Blocks of keys, and what each adds to the posterior of each query; queries last, for vector instructions.

    Args:
        min_energy: smallest energy in the block.
        sums: sums over its keys of `weight * value` and, last, of the weights, relative to that energy.
        image: number of the image that the block is in.
        column: its column of keys.
    """

    min_energy: Float[Array, "blocks q"]
    sums: Float[Array, "blocks c1 q"]
    image: Int[Array, "blocks q"]
    column: Int[Array, "blocks q"]


@pytree.dataclass
class Nearest:
    """The key nearest to each query: its image, and its row and column among the keys."""

    image: Int[Array, "*q"]
    row: Int[Array, "*q"]
    column: Int[Array, "*q"]


def patch_means(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: Source,
    temperature: Float[Array, ""],
    *,
    weights: tuple[Float[Array, " rows"], Float[Array, " columns"]] | None = None,
    precision: Precision | None = None,
) -> Float[Array, "h w c"]:
    """Posterior means of every window of `y` over all keys.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        weights: of the rows and columns of a window; squared differences are multiplied by both. 1 by default.
        precision: what entries are rounded to before they are multiplied.
    """
    return _stream(y, queries, keys, source, temperature, 0, weights, precision)[0].mean


def refined_patch_means(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: Source,
    temperature: Float[Array, ""],
    *,
    precision: Precision | None = None,
) -> tuple[reduce.Partial, Nearest]:
    """As `patch_means`, the `NUM_KEPT` leading blocks of each query by differences: partial sums, and nearest keys."""
    rest, kept = _stream(y, queries, keys, source, temperature, NUM_KEPT, None, precision)
    patches = queries.cut(y[None])[0]
    squares = jnp.sum(jnp.square(patches), axis=-1)
    rest = reduce.Partial(rest.min_energy + squares, rest.weighted_sum, rest.weight)
    part, nearest = _recompute(patches, keys, source, temperature, kept)
    return reduce.merge(rest, part, temperature), nearest


def _stream(y, queries, keys, source, temperature, num_kept, weights, precision) -> tuple[reduce.Partial, Blocks]:
    """Sums over the keys outside the kept blocks, with energies less |u|^2, and the kept blocks; both `(h, w, ...)`."""
    channels = y.shape[2]
    (num_rows, num_columns), (h, w) = queries.shape, keys.shape
    row_weights, column_weights = (None, None) if weights is None else weights
    weighted = lambda strips: strips if weights is None else strips * jnp.repeat(column_weights, channels)  # noqa: E731

    # A tile, the energies held at once, is of a chunk of images and some columns of queries.
    products = _products(queries, keys)
    chunk_size = source.chunk_size or max(1, _tile_size() // products)
    num_tiles = min(num_columns, -(-products * chunk_size // _tile_size()))
    width = -(-num_columns // num_tiles)
    columns = np.minimum(np.arange(num_tiles * width), num_columns - 1).reshape(num_tiles, width)
    tiles = jnp.transpose(weighted(queries.strips(y[None])[0])[columns], (0, 3, 2, 1))
    tiles = tiles.reshape(*tiles.shape[:2], -1)  # (tile, entries of a strip, strips)

    def one_chunk(carry, images, penalty, first):
        strips, values = keys.strips(images), keys.centres(images)
        strips = strips.reshape(-1, strips.shape[-1])
        norms = jnp.sum(weighted(jnp.square(strips)), axis=-1)
        num_columns = len(images) * w
        num_blocks = num_columns if num_kept else 1  # a block of keys is a column of windows, or all are one block
        values = values.reshape(num_blocks, -1, channels)
        penalty = jnp.repeat(penalty, w).reshape(-1, 1, 1)

        def one_tile(inputs):
            tile, (rest, kept) = inputs
            of_strips = _energies(strips, norms, tile, precision).reshape(num_columns, keys.num_strips, -1)
            starts = range(keys.size[0])  # down both windows
            terms = (of_strips[:, i : i + h, i * width : (i + num_rows) * width] for i in starts)
            if weights is not None:
                terms = (row_weights[i] * term for i, term in zip(starts, terms, strict=True))
            energies = functools.reduce(jnp.add, terms) + penalty
            energies = energies.reshape(num_blocks, -1, energies.shape[-1])
            smallest, sums = _over_keys(energies, values, temperature)
            if num_kept:
                places = jnp.divmod(jnp.arange(num_columns), w)
                image, column = (jnp.broadcast_to(x[:, None], smallest.shape) for x in places)
                kept, (smallest, sums) = _keep(kept, Blocks(smallest, sums, first + image, column))
            return reduce.merge(rest, _union(smallest, sums, temperature), temperature), kept

        return jax.lax.map(one_tile, (tiles, carry))

    q = num_rows * width
    nowhere = jnp.zeros((num_kept, q), int)
    sums = jnp.zeros((num_kept, channels + 1, q), y.dtype)
    start = no_keys((q,), channels, y.dtype), Blocks(jnp.full(nowhere.shape, MASKED, y.dtype), sums, nowhere, nowhere)
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_tiles, *x.shape)), start)
    rest, kept = source.scan(one_chunk, start, temperature, chunk_size)
    tile, column = np.divmod(np.arange(num_columns), width)
    place = width * np.arange(num_rows)[:, None] + column
    return jax.tree.map(lambda x: x[tile, place], rest), jax.tree.map(lambda x: x[tile, ..., place], kept)


def examples_at_once(queries: Windows, keys: Windows, num_images: int) -> int:
    """Number of images `y` whose `patch_means` are best computed together; the others wait."""
    return max(1, _tile_size() // (_products(queries, keys) * num_images or 1))


def _products(queries, keys) -> int:
    """Products of strips of queries with strips of one image."""
    return keys.shape[1] * keys.num_strips * queries.shape[1] * queries.num_strips


def _tile_size() -> int:
    """Products of strips that stay within the cache of a CPU's core, or fill an accelerator."""
    return 2**19 if jax.default_backend() == "cpu" else 2**25


def _recompute(patches, keys, source, temperature, kept) -> tuple[reduce.Partial, Nearest]:
    """Partial sums of the kept blocks, by differences, and the nearest key in them; all `(h, w, ...)`."""
    num_kept, h = kept.image.shape[-1], keys.shape[0]
    penalty = source.penalty(temperature)

    def one_query(inputs):
        query, image, column, counts = inputs
        windows, centres = jax.vmap(keys.cut_column)(source.centred(source.data[image]), column)
        energies = jnp.sum(jnp.square(windows - query.reshape(1, 1, -1)), axis=-1) + penalty[image][:, None]
        energies = jnp.where(counts[:, None], energies, MASKED).reshape(-1)
        nearest = jnp.argmin(energies)
        part = reduce.partial(energies, centres.reshape(num_kept * h, -1), temperature)
        return part, Nearest(image[nearest // h], nearest % h, column[nearest // h])

    # An image that was masked, and a place that was never filled, do not count.
    inputs = patches, kept.image, kept.column, kept.min_energy < MASKED / 2
    shape, d = patches.shape[:2], patches.shape[2]
    inputs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), inputs)
    most = 2**21 // (num_kept * max(h * d, source.data[0].size))
    batch_size = batching.largest_divisor(len(inputs[0]), most)
    out = jax.lax.map(one_query, inputs, batch_size=batch_size)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), out)


def _keep(kept: Blocks, blocks: Blocks) -> tuple[Blocks, tuple[Array, Array]]:
    """The blocks with the smallest minima of both; minima and sums of all, those of the kept ones masked."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), kept, blocks)
    num_kept, num_both = kept.image.shape[0], both.image.shape[0]
    _, chosen = jax.lax.top_k(-jax.lax.stop_gradient(both.min_energy).T, num_kept)
    chosen = chosen.T
    at = lambda x: chosen if x.ndim == 2 else chosen[:, None]  # noqa: E731
    first = jax.tree.map(lambda x: jnp.take_along_axis(x, at(x), axis=0), both)
    is_chosen = jnp.any(chosen[:, None] == jnp.arange(num_both).reshape(1, -1, 1), axis=0)
    return first, (jnp.where(is_chosen, MASKED, both.min_energy), jnp.where(is_chosen[:, None], 0, both.sums))


def product(a: Float[Array, "m d"], b: Float[Array, "d n"], precision: Precision | None) -> Float[Array, "m n"]:
    """Matrix product in full precision, or with `precision` of rounded entries, summed in their own type."""
    if precision is None:
        return jnp.matmul(a, b, precision="highest")
    if precision == "bfloat16":
        return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=a.dtype)
    # Rounded here, so that every backend, whatever it multiplies with, returns the same.
    a, b = (jax.lax.reduce_precision(x, 8, MANTISSA_BITS[precision]) for x in (a, b))
    return jnp.matmul(a, b, precision=precision)


def _energies(
    keys: Float[Array, "keys d"], norms: Float[Array, " keys"], queries: Float[Array, "d q"], precision
) -> Float[Array, "keys q"]:
    """`|v|^2 - 2 u v`."""
    columns = -2 * queries
    if precision is not None:
        return product(keys, columns, precision) + norms[:, None]
    # As one product: a row (v, |v|^2) a key, a column (-2 u, 1) a query.
    rows = jnp.concatenate([keys, norms[:, None]], axis=1)
    return product(rows, jnp.concatenate([columns, jnp.ones_like(columns[:1])]), precision)


def _over_keys(
    energies: Float[Array, "blocks keys q"], values: Float[Array, "blocks keys c"], temperature: Float[Array, ""]
) -> tuple[Float[Array, "blocks q"], Float[Array, "blocks c1 q"]]:
    """Smallest energy and sums of each block, as in `Blocks`: `reduce.partial` with queries last, which is quicker."""
    smallest = _min_over_keys(jax.lax.stop_gradient(energies))
    weights = exp((smallest[:, None] - energies) * (1 / temperature))  # one division, not one a key
    # The weights' own sum is one more column of the same product.
    values = jnp.concatenate([values, jnp.ones_like(values[..., :1])], axis=-1)
    if len(values) == 1:  # XLA's product without a batch is three times as fast
        return smallest, jnp.matmul(values[0].T, weights[0], precision="highest")[None]
    return smallest, jnp.matmul(jnp.swapaxes(values, 1, 2), weights, precision="highest")


def _min_over_keys(energies: Float[Array, "blocks keys q"]) -> Float[Array, "blocks q"]:
    """Minimum over keys, first of whole slices: on a CPU, XLA's reduction would walk down one column after another."""
    num = energies.shape[1]
    length = -(-num // 16)
    starts = (min(i, num - length) for i in range(0, num, length))  # the last slices may overlap
    slices = (jax.lax.slice_in_dim(energies, i, i + length, axis=1) for i in starts)
    # The barrier keeps XLA from fusing the slices into the reduction.
    return jax.lax.optimization_barrier(functools.reduce(jnp.minimum, slices)).min(axis=1)


def _union(smallest: Float[Array, "blocks q"], sums: Float[Array, "blocks c1 q"], temperature) -> reduce.Partial:
    """One partial sum of all blocks."""
    least = jax.lax.stop_gradient(smallest.min(axis=0))
    sums = jnp.sum(sums * jnp.exp((least[None] - smallest) / temperature)[:, None], axis=0)
    return reduce.Partial(least, sums[:-1].T, sums[-1])
