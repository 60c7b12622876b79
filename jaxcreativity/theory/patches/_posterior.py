"""The posterior over the patches of a training set, streamed: what equivariant denoisers are made of.

For a query patch u and key patches v_j with own pixels t_j this is the softmax-mean of `_numerics.streaming`, with
energies `E_j = |u - v_j|^2` and temperature `T = 2 sigma^2`, over chunks of images; nothing of size (queries x keys) is
held.

Energies come from products (`_energies`), whose rounding, about eps |v|^2, is divided by T. Where that could show,
the leading keys are computed again by differences. Keys come in blocks (one column of windows of one image). The blocks
with the smallest minima are kept apart, each with its partial sums; at the end their energies are recomputed. Every key
is counted exactly once: the same sum, only more precisely.

A posterior says what normalises it, so that its derivatives (`_changes`) need one more run over the keys and no other.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

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


class Posterior(NamedTuple):
    """Means over all keys, and what their derivatives need.

    Attributes:
        mean: of every window of `y`.
        free_energy: `-T log sum_j exp(-E_j / T)` over the keys outside the blocks kept apart.
        kept: those blocks, numbered by image and then by column; -1 for none.
    """

    mean: Float[Array, "h w c"]
    free_energy: Float[Array, "h w"]
    kept: Int[Array, "h w kept"]


def posterior(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    is_cold: Bool[ArrayLike, ""] | None = None,
    precision: Precision | None = None,
) -> Posterior:
    """Posterior of every window of `y` over all keys.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        is_cold: whether rounding could show, for one example at a time: elsewhere leading keys are not recomputed, in
            half the time. By default they are.
        precision: what entries are rounded to before they are multiplied.
    """
    options = {"queries": queries, "keys": keys, "source": source, "precision": precision}

    def refined(y, temperature):
        return refined_posterior(y, temperature=temperature, **options)[0]

    if is_cold is None:
        return refined(y, temperature)

    quick = lambda y, temperature: quick_posterior(y, temperature=temperature, **options)  # noqa: E731
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(quick, y, temperature))

    found, is_right = jax.lax.cond(is_cold, lambda *_: nothing, quick, y, temperature)
    return jax.lax.cond(is_right, lambda *_: found, refined, y, temperature)


def coarse_posterior(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    weights: Float[Array, " d"] | None = None,
) -> Posterior:
    """As `posterior`, of expanded squares alone.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        weights: what the squared difference of every entry of a window is multiplied by; 1 by default.
    """
    height = 1 if weights is None else keys.size[0]
    tiles = Tiles.of(y, queries, keys, source, height=height, size=LARGE, weights=weights)
    rest, _ = _stream(tiles, source, temperature, 0)
    none = jnp.full((*queries.shape, 1), -1)  # not empty: JAX cannot map over batches of empty arrays
    return Posterior(rest.mean, _free_energy(rest, temperature), none)


def quick_posterior(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    precision: Precision | None = None,
) -> tuple[Posterior, Array]:
    """As `posterior`, but quick where the temperature is not small, and whether it is right.

    Weights are not relative to the smallest energy of each chunk, which takes two more passes, but to the smallest in
    the first image that counts. Should another be so much smaller that its weight overflows, the result is not right.

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
    sums, reference = tiles.on_grid((source.scan(one_chunk, start, temperature, tiles.chunk_size), reference))
    total = sums[..., -1]
    is_right = jnp.all((total > 1e-20) & (total < 1e30))  # `exp2` stops at about 1e-38 and 1e38
    free_energy = tiles.query_squares() + temperature * (math.log(2) * reference - jnp.log(total))
    none = jnp.full((*total.shape, NUM_KEPT), -1)
    return Posterior(sums[..., :-1] / total[..., None], free_energy, none), is_right


def refined_posterior(
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    precision: Precision | None = None,
) -> tuple[Posterior, Float[Array, "h w"], Nearest]:
    """The posterior, the `NUM_KEPT` leading blocks of each query by differences; sums of weights, and nearest keys.

    Weights are relative to the smallest energy.

    Args:
        y: image, less the source's mean.
        queries: its windows, of the size of the keys.
        keys: windows of the training images.
        source: training images.
        temperature: `2 sigma^2`.
        precision: what entries are rounded to before they are multiplied.
    """
    tiles = Tiles.of(y, queries, keys, source, height=1, size=LARGE, precision=precision)
    rest, blocks = _stream(tiles, source, temperature, NUM_KEPT)
    # An image that was masked, and a place that was never filled, do not count.
    counts = blocks.min_energy < streaming.MASKED / 2
    kept = jnp.where(counts, blocks.image * keys.shape[1] + blocks.column, -1)
    part, nearest = _recompute(queries.cut(y[None])[0], kept, keys, source, temperature)
    whole = streaming.merge(rest, part, temperature)
    return Posterior(whole.mean, _free_energy(rest, temperature), kept), whole.weight, nearest


def _free_energy(part, temperature):
    is_empty = part.weight == 0
    log_weight = jnp.log(jnp.where(is_empty, 1, part.weight))
    return jnp.where(is_empty, streaming.MASKED, part.min_energy - temperature * log_weight)


def _stream(tiles, source, temperature, num_kept) -> tuple[streaming.Partial, Blocks]:
    """Sums over the keys outside the kept blocks, and the kept blocks, with energies less |u|^2; `(h, w, ...)`."""
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
    rest, kept = tiles.on_grid((rest, kept))
    return dataclasses.replace(rest, min_energy=rest.min_energy + tiles.query_squares()), kept


def over_queries(function: Callable[[Any], Any], inputs: Any, numbers: int) -> Any:
    """`function` of every query, as many at once as stay within the cache.

    Args:
        function: of one query's inputs.
        inputs: arrays `(h, w, ...)`.
        numbers: that it holds.
    """
    shape = jax.tree.leaves(inputs)[0].shape[:2]
    inputs = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), inputs)
    batch_size = batching.largest_divisor(math.prod(shape), 2**21 // numbers)
    out = jax.lax.map(function, inputs, batch_size=batch_size)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), out)


def keys_of_blocks(
    query: Float[Array, " d"],
    kept: Int[Array, " kept"],
    keys: Windows,
    source: KeyImages,
    penalty: Float[Array, " n"],
) -> tuple[Float[Array, " keys"], Float[Array, "keys c"]]:
    """Energies, by differences, and own pixels of the keys of some blocks.

    Args:
        query: a window.
        kept: numbers of the blocks; the keys of -1 are `streaming.MASKED`.
        keys: windows of the training images.
        source: training images.
        penalty: what is added to the energies of each of them.
    """
    image, column = jnp.divmod(jnp.maximum(kept, 0), keys.shape[1])
    windows, centres = jax.vmap(keys.cut_column)(source.centred(source.data[image]), column)
    energies = jnp.sum(jnp.square(windows - query.reshape(1, 1, -1)), axis=-1) + penalty[image][:, None]
    energies = jnp.where((kept >= 0)[:, None], energies, streaming.MASKED)
    return energies.ravel(), centres.reshape(-1, centres.shape[-1])


def numbers_of_blocks(keys: Windows, source: KeyImages) -> int:
    """Numbers that `keys_of_blocks` holds."""
    window = keys.size[0] * keys.size[1] * source.data.shape[-1]
    return NUM_KEPT * max(keys.shape[0] * window, source.data[0].size)


def _recompute(patches, kept, keys, source, temperature) -> tuple[streaming.Partial, Nearest]:
    """Partial sums of the kept blocks, by differences, and the nearest key in them; all `(h, w, ...)`."""
    penalty, h = source.penalty(temperature), keys.shape[0]

    def one_query(inputs):
        query, kept = inputs
        energies, centres = keys_of_blocks(query, kept, keys, source, penalty)
        nearest = jnp.argmin(energies)
        image, column = jnp.divmod(jnp.maximum(kept[nearest // h], 0), keys.shape[1])
        return streaming.partial(energies, centres, temperature), Nearest(image, nearest % h, column)

    return over_queries(one_query, (patches, kept), numbers_of_blocks(keys, source))
