"""The posterior over the patches of a training set, streamed: what equivariant denoisers are made of.

For a query patch u and key patches v_j with own pixels t_j this is the softmax-mean of `_numerics.streaming`, with
energies `E_j = |u - v_j|^2` and temperature `T = 2 sigma^2`, over chunks of images; nothing of size (queries x keys) is
held.

Energies come from products (`_energies`), whose rounding, about eps |v|^2, is divided by T. Where that could show,
the leading keys are computed again by differences. Keys come in blocks (one column of windows of one image). The blocks
with the smallest minima are kept apart, each with its partial sums; at the end their energies are recomputed. Every key
is counted exactly once: the same sum, only more precisely.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity import _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.exponential import exp2
from jaxcreativity._numerics.windows import Windows
from jaxcreativity.theory.patches._blocks import Blocks, contract, keep, min_over_keys, over_keys, union, with_one
from jaxcreativity.theory.patches._energies import LARGE, SMALL, Precision, Tiles
from jaxcreativity.theory.patches._keys import KeyImages

NUM_KEPT = 8
"""Blocks per query whose energies are recomputed by differences."""


@_pytree.dataclass
class Nearest:
    """The key nearest to each query.

    Args:
        image: number of its image.
        row: its row among the keys.
        column: its column among them.
    """

    image: Int[Array, "*q"]
    row: Int[Array, "*q"]
    column: Int[Array, "*q"]


def patch_means(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    weights: Float[Array, " d"] | None = None,
    precision: Precision | None = None,
) -> Float[Array, "h w c"]:
    """Posterior means of every window of `y` over all keys.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        weights: what the squared difference of every entry of a window is multiplied by; 1 by default.
        precision: what entries are rounded to before they are multiplied.
    """
    tiles = Tiles.of(y, queries, keys, source, height=keys.size[0], size=LARGE, weights=weights, precision=precision)
    return _stream(tiles, source, temperature, 0)[0].mean


def quick_patch_means(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    precision: Precision | None = None,
) -> Float[Array, "h w c"]:
    """As `patch_means`, but quick where the temperature is not small; not meant to be differentiated or batched.

    Energies are summed from strips. Weights are not relative to the smallest energy of each chunk, which takes two more
    passes, but to the smallest in the first image that counts. Should another be so much smaller that its weight
    overflows, `patch_means` are returned: a branch on the values of `y`.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        precision: what entries are rounded to before they are multiplied.
    """
    tiles = Tiles.of(y, queries, keys, source, height=1, size=SMALL, precision=precision)
    inverse = 1 / (temperature * math.log(2))
    some = source.centred(source.data[jnp.argmax(source.valid)])[None]
    energies = tiles.energies(some, jnp.zeros(1, y.dtype), inverse)
    reference = jax.lax.map(lambda strips: min_over_keys(energies(strips).reshape(1, -1, tiles.q))[0], tiles.strips)

    def one_chunk(carry, images, penalty, first):
        energies = tiles.energies(images, penalty, inverse)
        values = with_one(keys.centres(images).reshape(-1, images.shape[-1]))

        def one_tile(inputs):
            strips, reference, sums = inputs
            weights = exp2(reference.reshape(1, 1, -1) - energies(strips)).reshape(-1, tiles.q)
            return sums + contract("kc,kq->cq", values, weights)

        return jax.lax.map(one_tile, (tiles.strips, reference, carry))

    start = jnp.zeros((len(reference), y.shape[2] + 1, tiles.q), y.dtype)
    sums = tiles.on_grid(source.scan(one_chunk, start, temperature, tiles.chunk_size))
    total = sums[..., -1]
    is_right = jnp.all((total > 1e-20) & (total < 1e30))  # `exp2` stops at about 1e-38 and 1e38
    exactly = functools.partial(patch_means, queries=queries, keys=keys, source=source, precision=precision)
    return jax.lax.cond(
        is_right, lambda y, t: sums[..., :-1] / total[..., None], lambda y, t: exactly(y, temperature=t), y, temperature
    )


def refined_patch_means(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    in_strips: bool = True,
    precision: Precision | None = None,
) -> tuple[streaming.Partial, Nearest]:
    """As `patch_means`, the `NUM_KEPT` leading blocks of each query by differences: partial sums, and nearest keys.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        in_strips: whether energies are summed from strips: quicker, but not when differentiated in reverse.
        precision: what entries are rounded to before they are multiplied.
    """
    height = 1 if in_strips else keys.size[0]
    tiles = Tiles.of(y, queries, keys, source, height=height, size=LARGE, precision=precision)
    rest, kept = _stream(tiles, source, temperature, NUM_KEPT)
    patches = queries.cut(y[None])[0]
    squares = jnp.sum(jnp.square(patches), axis=-1)
    rest = streaming.Partial(rest.min_energy + squares, rest.weighted_sum, rest.weight)
    part, nearest = _recompute(patches, keys, source, temperature, kept)
    return streaming.merge(rest, part, temperature), nearest


def _stream(tiles, source, temperature, num_kept) -> tuple[streaming.Partial, Blocks]:
    """Sums over the keys outside the kept blocks, with energies less |u|^2, and the kept blocks; both `(h, w, ...)`."""
    keys, channels, dtype = tiles.keys, source.data.shape[-1], tiles.strips.dtype

    def one_chunk(carry, images, penalty, first):
        energies = tiles.energies(images, penalty)
        num_columns = images.shape[0] * keys.shape[1]
        num_blocks = num_columns if num_kept else 1  # a block of keys is a column of windows, or all are one block
        values = with_one(keys.centres(images).reshape(num_blocks, -1, channels))

        def one_tile(inputs):
            strips, (rest, kept) = inputs
            smallest, sums = over_keys(energies(strips).reshape(num_blocks, -1, tiles.q), values, temperature)
            if num_kept:
                places = jnp.divmod(jnp.arange(num_columns), keys.shape[1])
                image, column = (jnp.broadcast_to(x[:, None], smallest.shape) for x in places)
                kept, (smallest, sums) = keep(kept, Blocks(smallest, sums, first + image, column))
            return streaming.merge(rest, union(smallest, sums, temperature), temperature), kept

        return jax.lax.map(one_tile, (tiles.strips, carry))

    nowhere = jnp.zeros((num_kept, tiles.q), int)
    sums = jnp.zeros((num_kept, channels + 1, tiles.q), dtype)
    kept = Blocks(jnp.full(nowhere.shape, streaming.MASKED, dtype), sums, nowhere, nowhere)
    start = streaming.nothing((tiles.q,), channels, dtype), kept
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(tiles.strips), *x.shape)), start)
    rest, kept = source.scan(one_chunk, start, temperature, tiles.chunk_size)
    rest = streaming.Partial(rest.min_energy, jnp.swapaxes(rest.weighted_sum, -1, -2), rest.weight)
    return tiles.on_grid(rest), tiles.on_grid(kept)


def _recompute(patches, keys, source, temperature, kept) -> tuple[streaming.Partial, Nearest]:
    """Partial sums of the kept blocks, by differences, and the nearest key in them; all `(h, w, ...)`."""
    num_kept, h = kept.image.shape[-1], keys.shape[0]
    penalty = source.penalty(temperature)

    def one_query(inputs):
        query, image, column, counts = inputs
        windows, centres = jax.vmap(keys.cut_column)(source.centred(source.data[image]), column)
        energies = jnp.sum(jnp.square(windows - query.reshape(1, 1, -1)), axis=-1) + penalty[image][:, None]
        energies = jnp.where(counts[:, None], energies, streaming.MASKED).reshape(-1)
        nearest = jnp.argmin(energies)
        part = streaming.partial(energies, centres.reshape(num_kept * h, -1), temperature)
        return part, Nearest(image[nearest // h], nearest % h, column[nearest // h])

    # An image that was masked, and a place that was never filled, do not count.
    inputs = patches, kept.image, kept.column, kept.min_energy < streaming.MASKED / 2
    shape, d = patches.shape[:2], patches.shape[2]
    inputs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), inputs)
    most = 2**21 // (num_kept * max(h * d, source.data[0].size))
    batch_size = batching.largest_divisor(len(inputs[0]), most)
    out = jax.lax.map(one_query, inputs, batch_size=batch_size)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), out)
