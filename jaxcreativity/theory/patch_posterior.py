"""The posterior over the patches of a training set, streamed: what the denoisers of `theory.local` are made of.

For a query patch u and key patches v_j with centre pixels t_j this is the softmax-mean of `reduce`, with energies
`E_j = |u - v_j|^2` and temperature `T = 2 sigma^2`, over chunks of images; nothing of size (queries x keys) is held.

Precision: `E_j = |u|^2 - 2 u v_j + |v_j|^2` is one matrix product, but its rounding, about eps |v|^2, is divided by T.
Where that could show, the leading keys are computed again by differences. Keys come in blocks (one column of windows
of one image). The blocks with the smallest minima are kept apart, each with its partial sums; at the end their energies
are recomputed. Every key is counted exactly once: the same sum, only more precisely. The product itself may be taken of
rounded entries, which accelerators multiply several times as fast.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcreativity import pytree, reduce
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory import windows

NUM_KEPT = 8
"""Blocks per query whose energies are recomputed by differences."""

Precision = Literal["tensorfloat32", "bfloat16"]
"""What the entries of patches are rounded to before they are multiplied."""

MANTISSA_BITS = {"tensorfloat32": 10, "bfloat16": 7}

MASKED = 1e18
"""Energy of a key that does not count: beyond every real one, and small enough for arithmetic in float32."""


@pytree.dataclass
class Keys:
    """How the keys, `h x w` windows an image, are cut from an image.

    Args:
        margins: what an image is padded with by wrapping, `(rows, columns)`.
        size: height and width of a window.
        centre: row and column of the key's own pixel in its window.
        rows: range of the first rows of the windows, in the padded image.
        columns: range of their first columns.
    """

    margins: tuple[windows.Reach, windows.Reach] = pytree.static()
    size: tuple[int, int] = pytree.static()
    centre: tuple[int, int] = pytree.static()
    rows: windows.Range = pytree.static()
    columns: windows.Range = pytree.static()

    @property
    def shape(self) -> tuple[int, int]:
        """`(h, w)`."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def first_centre(self) -> tuple[int, int]:
        """Row and column, in the image as it was before padding, of the pixel in the middle of the first key."""
        firsts = self.rows[0], self.columns[0]
        return tuple(f + c - m[0] for f, c, m in zip(firsts, self.centre, self.margins, strict=True))

    def cut(self, images: Float[Array, "n height width c"]) -> tuple[Array, Array]:
        """Patches `(n, h, w, d)` and their centre pixels `(n, h, w, c)`."""
        images = windows.pad(images, *self.margins)
        (down, right), (h, w) = self.centre, self.shape
        top, left = self.rows[0] + down, self.columns[0] + right
        return windows.cut(images, self.size, self.rows, self.columns), images[:, top : top + h, left : left + w]

    def cut_column(
        self, image: Float[Array, "height width c"], column: Int[Array, ""]
    ) -> tuple[Float[Array, "h d"], Float[Array, "h c"]]:
        """Patches and centre pixels of one of the w columns of keys."""
        image = windows.pad(image, *self.margins)
        strip = jax.lax.dynamic_slice_in_dim(image, self.columns[0] + column, self.size[1], axis=1)
        (down, right), top = self.centre, self.rows[0]
        patches = windows.cut(strip, self.size, self.rows, (0, 1))[:, 0]
        return patches, strip[top + down : top + down + self.shape[0], right]


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


@pytree.dataclass
class Source:
    """The training images, and which of them count.

    Args:
        data: images.
        mean: what is subtracted from every pixel before patches are compared.
        valid: which images count.
        log_weights: logarithm of how much they count, or `None` for all the same.
        chunk_size: images held at once; need not divide their number. By default as many as stay in the cache.
        turned: whether rows and columns are exchanged.
    """

    data: Float[Array, "n height width c"]
    mean: Float[Array, "c"]
    valid: Bool[Array, " n"]
    log_weights: Float[Array, " n"] | None = None
    chunk_size: int | None = pytree.static(default=None)
    turned: bool = pytree.static(default=False)

    def transposed(self) -> "Source":
        """The same images, rows and columns exchanged."""
        return dataclasses.replace(self, turned=not self.turned)

    def penalty(self, temperature: Float[Array, ""]) -> Float[Array, " n"]:
        """What is added to the energies of each image: `-T log(weight)`, and `MASKED` if it does not count."""
        weighted = jnp.zeros((), self.mean.dtype) if self.log_weights is None else -temperature * self.log_weights
        return jnp.where(self.valid, weighted, MASKED)

    def scan(self, one_chunk, carry, temperature, numbers_per_image):
        """Fold `one_chunk(carry, images, penalty, first) -> carry` over chunks of centred images.

        Chunks without a `chunk_size` are as large as `numbers_per_image`, the temporary memory, lets them.
        """
        n = self.data.shape[0]
        penalty = self.penalty(temperature)
        num_chunks = -(-n // (self.chunk_size or reduce.default_chunk_size(numbers_per_image)))
        chunk = -(-n // num_chunks)

        @jax.checkpoint  # a gradient holds one chunk's weights at a time, too
        def body(carry, start):
            # The last chunk is moved back to end with the data; images already seen do not count again.
            first = jnp.minimum(start, n - chunk)
            cut = lambda x: jax.lax.dynamic_slice_in_dim(x, first, chunk)  # noqa: E731
            new = jnp.where(first + jnp.arange(chunk) >= start, cut(penalty), MASKED)
            return one_chunk(carry, self.centred(cut(self.data)), new, first), None

        return jax.lax.scan(body, carry, chunk * jnp.arange(num_chunks))[0]

    def centred(self, images: Array) -> Array:
        """Some of the images, less the mean."""
        images = jnp.swapaxes(images, -3, -2) if self.turned else images
        return images.astype(self.mean.dtype) - self.mean.reshape((1,) * (images.ndim - 1) + (-1,))


def local_means(
    y: Float[Array, "height width c"],
    source: Source,
    temperature: Float[Array, ""],
    row_weights: Float[Array, "height height"],
    column_weights: Float[Array, "width width"],
) -> reduce.Partial:
    """Posterior of every pixel over the images, at its own position only.

    The energy at (a, b) is `sum_ij row_weights[a, i] column_weights[b, j] |y_ij - x_ij|^2`: windows are 0 and 1 there.
    All terms are positive, so there is no cancellation.
    """

    def one_chunk(total, images, penalty, first):
        squares = jnp.sum(jnp.square(images - y[None]), axis=-1)
        energies = jnp.einsum("ai,nij,bj->abn", row_weights, squares, column_weights, precision="highest")
        energies = energies + penalty.reshape(1, 1, -1)
        part = reduce.partial(energies, images, temperature, subscripts="abn,nabc->abc")
        return reduce.merge(total, part, temperature)

    return source.scan(one_chunk, _empty(y.shape[:2], y.shape[2], y.dtype), temperature, y.size)


def border_means(
    y: Float[Array, "height width c"],
    source: Source,
    temperature: Float[Array, ""],
    weights: Float[Array, "edges width"],
    columns: tuple[int, ...],
    radius: int,
) -> reduce.Partial:
    """Posterior of the pixels of some columns over all images and rows, each in its own column.

    Queries `(edges, h)` and keys are the rows at least r from both ends. The energy of rows a and a' is
    `sum_{|i| <= r} sum_j weights[e, j] |y_{a+i,j} - x_{a'+i,j}|^2`: along a row, windows are 0 and 1 in `weights`.
    """
    height, width, channels = y.shape
    h = height - 2 * radius

    def one_chunk(total, images, penalty, first):
        differences = y[None, :, None] - images[:, None]  # (n, row of y, row of x, column, c)
        squares = jnp.sum(jnp.square(differences), axis=-1)
        squares = jnp.einsum("ec,nstc->esnt", weights, squares, precision="highest")
        energies = sum(squares[:, i : i + h, :, i : i + h] for i in range(2 * radius + 1))  # down both images
        energies = (energies + penalty.reshape(1, 1, -1, 1)).reshape(*energies.shape[:2], -1)
        values = images[:, radius : radius + h, jnp.asarray(columns)]  # (n, row, edge, c)
        values = values.reshape(-1, len(columns), channels)
        part = reduce.partial(energies, values, temperature, subscripts="eqk,kec->eqc")
        return reduce.merge(total, part, temperature)

    start = _empty((len(columns), h), channels, y.dtype)
    return source.scan(one_chunk, start, temperature, height * height * width)


def patch_means(
    queries: Float[Array, "q d"],
    keys: Keys,
    source: Source,
    temperature: Float[Array, ""],
    num_kept: int,
    scale: Float[Array, " d"] | None = None,
    precision: Precision | None = None,
) -> tuple[reduce.Partial, Nearest | None]:
    """Posterior of every query patch over all keys; the `num_kept` leading blocks of each by differences.

    With `scale`, the entries of all patches are multiplied by it before they are compared; with `precision` they are
    rounded before they are multiplied with each other.

    Returns:
        The partial sums, and the nearest key (`None` if no blocks are kept).
    """
    scale = jnp.ones(queries.shape[1], queries.dtype) if scale is None else scale
    queries = queries * scale[None]
    (q, d), channels = queries.shape, source.data.shape[-1]
    squares = jnp.sum(jnp.square(queries), axis=-1)
    h, w = keys.shape

    def one_chunk(carry, images, penalty, first):
        rest, kept = carry
        patches, centres = keys.cut(images)
        n = images.shape[0]
        if num_kept:  # a block of keys is a column of windows; else all are one block
            patches, centres = jnp.swapaxes(patches, 1, 2), jnp.swapaxes(centres, 1, 2)
        blocks = n * w if num_kept else 1
        patches = patches.reshape(-1, d) * scale[None]
        norms = jnp.sum(jnp.square(patches), axis=-1) + jnp.repeat(penalty, h * w)
        energies = _energies(patches, norms, queries, precision).reshape(blocks, -1, q)
        smallest, sums = _over_keys(energies, centres.reshape(blocks, -1, channels), temperature)
        if num_kept:
            image, column = (jnp.broadcast_to(x.reshape(-1, 1), (blocks, q)) for x in jnp.divmod(jnp.arange(blocks), w))
            kept, (smallest, sums) = _keep(kept, Blocks(smallest, sums, first + image, column))
        return reduce.merge(rest, _union(smallest, sums, temperature), temperature), kept

    kept = None
    if num_kept:
        nowhere = jnp.zeros((num_kept, q), int)
        sums = jnp.zeros((num_kept, channels + 1, q), squares.dtype)
        kept = Blocks(jnp.full((num_kept, q), MASKED, squares.dtype), sums, nowhere, nowhere)
    start = (_empty((q,), channels, squares.dtype), kept)
    rest, kept = source.scan(one_chunk, start, temperature, h * w * max(queries.shape))
    rest = reduce.Partial(rest.min_energy + squares, rest.weighted_sum, rest.weight)
    if not num_kept:
        return rest, None
    part, nearest = _recompute(queries, keys, source, temperature, kept, scale)
    return reduce.merge(rest, part, temperature), nearest


def _recompute(queries, keys, source, temperature, kept, scale) -> tuple[reduce.Partial, Nearest]:
    """Partial sums of the kept blocks, by differences, and the nearest key in them."""
    num_kept, h = kept.image.shape[0], keys.shape[0]
    penalty = source.penalty(temperature)

    def one_query(inputs):
        query, image, column, counts = inputs
        patches, centres = jax.vmap(keys.cut_column)(source.centred(source.data[image]), column)
        differences = patches * scale.reshape(1, 1, -1) - query.reshape(1, 1, -1)
        energies = jnp.sum(jnp.square(differences), axis=-1) + penalty[image][:, None]
        energies = jnp.where(counts[:, None], energies, MASKED).reshape(-1)
        nearest = jnp.argmin(energies)
        part = reduce.partial(energies, centres.reshape(num_kept * h, -1), temperature)
        return part, Nearest(image[nearest // h], nearest % h, column[nearest // h])

    # An image that was masked, and a place that was never filled, do not count.
    counts = kept.min_energy < MASKED / 2
    q, d = queries.shape
    most = max(1, 2**21 // (num_kept * max(h * d, source.data[0].size)))
    batch = max(b for b in range(1, min(q, most) + 1) if q % b == 0)  # a remainder would be compiled as well
    return jax.lax.map(one_query, (queries, kept.image.T, kept.column.T, counts.T), batch_size=batch)


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


def as_temperature(sigma: NoiseLevel, dtype) -> Float[Array, ""]:
    """`2 sigma^2`, kept from 0 so far that its inverse times the distance of equal keys is 0 and not NaN."""
    return jnp.maximum(2 * jnp.square(jnp.asarray(sigma, dtype)), 1e-30)


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
    patches: Float[Array, "keys d"], norms: Float[Array, " keys"], queries: Float[Array, "q d"], precision
) -> Float[Array, "keys q"]:
    """`|v|^2 - 2 u v`."""
    columns = -2 * queries.T
    if precision is not None:
        return product(patches, columns, precision) + norms[:, None]
    # As one product: a row (v, |v|^2) a key, a column (-2 u, 1) a query.
    rows = jnp.concatenate([patches, norms[:, None]], axis=1)
    return product(rows, jnp.concatenate([columns, jnp.ones_like(columns[:1])]), precision)


def _over_keys(
    energies: Float[Array, "blocks keys q"], values: Float[Array, "blocks keys c"], temperature: Float[Array, ""]
) -> tuple[Float[Array, "blocks q"], Float[Array, "blocks c1 q"]]:
    """Smallest energy and sums of each block, as in `Blocks`: `reduce.partial` with queries last, which is quicker."""
    smallest = _min_over_keys(jax.lax.stop_gradient(energies))
    weights = jnp.exp((smallest[:, None] - energies) * (1 / temperature))  # one division, not one a key
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


def _empty(queries, channels, dtype) -> reduce.Partial:
    return reduce.Partial(
        jnp.full(queries, MASKED, dtype), jnp.zeros((*queries, channels), dtype), jnp.zeros(queries, dtype)
    )
