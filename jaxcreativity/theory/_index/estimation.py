"""A posterior mean from whole cells near the query and from draws elsewhere, with its standard error.

With keys v_j, their values t_j and energies E_j the mean is `A / B`, with `A = sum_j w_j t_j`, `B = sum_j w_j` and
`w_j = exp(-E_j / T)`. Three parts make up each sum, by how much cells weigh (`Cells.log_masses`):

- the heaviest cells, key by key;
- the other cells of the heaviest blocks, by s draws from each;
- all other blocks, by s draws from each.

s draws of a stratum of n keys count n / s times each. A is off by `e_j = n/s w_j (t_j - A / B)` of the draws, whose
scatter in each stratum estimates the variance of A / B,

    1 / B^2 sum_strata (1 - s / n) s / (s - 1) (sum_j e_j^2 - (sum_j e_j)^2 / s).

Queries of a whole batch that look into one cell are multiplied with its keys together.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcreativity._numerics import streaming
from jaxcreativity._numerics.arithmetic import dot, safe_sqrt
from jaxcreativity._numerics.streaming import Partial
from jaxcreativity.theory._index.cells import Cells, Draws
from jaxcreativity.theory._index.tiles import in_tiles

QUERIES_PER_STEP = 256
"""Queries whose cells are weighed at once."""


class Keys(NamedTuple):
    """What is known of keys, by their numbers; -1 is no key.

    Attributes:
        cut: numbers -> the keys themselves, `(m, d)`.
        values: numbers -> what the mean is taken of, `(m, c)`.
        log_weights: numbers -> logarithms of how much each counts, `(m,)`; -inf if not at all.
    """

    cut: Callable[[Int[Array, " m"]], Float[Array, "m d"]]
    values: Callable[[Int[Array, " m"]], Float[Array, "m c"]]
    log_weights: Callable[[Int[Array, " m"]], Float[Array, " m"]]


class Estimate(NamedTuple):
    """A posterior mean.

    Attributes:
        mean: `(examples, queries, c)`.
        standard_error: of each entry, or `None`.
    """

    mean: Float[Array, "b q c"]
    standard_error: Float[Array, "b q c"] | None


class _Sums(NamedTuple):
    """Sums over keys, and those that their variance is made of: `sum_strata f (sum e^2 - (sum e)^2 / s)` by power of R.

    Weights of the second are squared, so that its temperature is T / 2.
    """

    total: Partial
    scatter: Partial | None


class _Choice(NamedTuple):
    """Where each query looks.

    Attributes:
        cells: that are summed key by key.
        blocks: whose other cells are drawn from.
        is_summed: which cells of these blocks are among the first.
        is_far: blocks that are not among these.
    """

    cells: Int[Array, "q heads"]
    blocks: Int[Array, "q near"]
    is_summed: Bool[Array, "q near per_block"]
    is_far: Bool[Array, "q blocks"]


def estimate(
    u: Float[Array, "b q d"],
    temperatures: Float[Array, " b"],
    cells: Cells,
    draws: Draws,
    keys: Keys,
    *,
    num_cells: int,
    num_blocks: int,
    with_error: bool,
) -> Estimate:
    """Posterior means of queries over the keys of one class.

    Args:
        u: queries of some examples.
        temperatures: of each example.
        cells: of the keys.
        draws: from them.
        keys: looks them up.
        num_cells: cells that are summed key by key, for each query.
        num_blocks: blocks that are drawn from cell by cell; more if so many cells need them.
        with_error: whether to estimate the standard error.
    """
    num_cells = min(num_cells, len(cells.keys))
    num_blocks = min(cells.num_blocks, max(num_blocks, -(-num_cells // cells.per_block)))
    (b, q), d = u.shape[:2], u.shape[2]
    choice = _choose(jax.lax.stop_gradient(u), jax.lax.stop_gradient(temperatures), cells, num_cells, num_blocks)
    u, temperature = u.reshape(-1, d), jnp.repeat(temperatures, q)
    sums = _whole_cells(u, temperature, cells, keys, choice, with_error)
    if num_cells < num_blocks * cells.per_block:  # else none is left
        sums = _merge(sums, _near(u, temperature, cells, draws, keys, choice, with_error), temperature)
    if num_blocks < cells.num_blocks:
        sums = _merge(sums, _far(u, temperature, cells, draws, keys, choice, with_error), temperature)
    mean = sums.total.mean
    if not with_error:
        return Estimate(mean.reshape(b, q, -1), None)
    first, second = jnp.split(sums.scatter.weighted_sum, 2, axis=-1)
    scatter = second - 2 * mean * first + mean**2 * sums.scatter.weight[:, None]
    scale = jnp.exp((sums.total.min_energy - sums.scatter.min_energy) / temperature) / sums.total.weight
    error = safe_sqrt(jnp.maximum(scatter, 0)) * scale[:, None]
    return Estimate(mean.reshape(b, q, -1), error.reshape(b, q, -1))


# --- where to look ---


def _choose(u, temperatures, cells, num_cells, num_blocks) -> _Choice:
    per_block, q = cells.per_block, u.shape[1]

    def some(args):
        u, temperature = args
        of_blocks, of_cells = cells.log_masses(u, temperature)
        blocks = jax.lax.top_k(of_blocks, num_blocks)[1]
        masses = jnp.take_along_axis(of_cells.reshape(len(u), -1, per_block), blocks[:, :, None], axis=1)
        chosen = jax.lax.top_k(masses.reshape(len(u), -1), num_cells)[1]
        at = jnp.arange(len(u))[:, None]
        is_summed = jnp.zeros((len(u), num_blocks * per_block), bool).at[at, chosen].set(True)
        is_far = jnp.ones((len(u), cells.num_blocks), bool).at[at, blocks].set(False)
        numbers = jnp.take_along_axis(blocks, chosen // per_block, axis=1) * per_block + chosen % per_block
        return _Choice(numbers, blocks, is_summed.reshape(len(u), num_blocks, per_block), is_far)

    step = max(s for s in range(1, min(q, QUERIES_PER_STEP) + 1) if q % s == 0)
    steps = u.reshape(-1, step, u.shape[2]), jnp.repeat(temperatures, q // step)
    choice = jax.lax.map(some, steps)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), choice)


# --- the three parts ---


def _whole_cells(u, temperature, cells, keys, choice, with_error) -> _Sums:
    def one_tile(cell, pairs):
        query = pairs // choice.cells.shape[1]
        numbers = cells.keys[cell]
        energies, counts = _energies(u[query], numbers, temperature[query], keys)
        sums = jax.vmap(streaming.partial, (0, None, 0, None))
        return sums(energies, keys.values(numbers), temperature[query], counts)

    parts = in_tiles(one_tile, choice.cells, cells.keys.shape[0])
    total = _union(parts, temperature)
    no_draws = streaming.nothing((len(u),), 2 * total.weighted_sum.shape[1], u.dtype)
    return _Sums(total, no_draws if with_error else None)


def _near(u, temperature, cells, draws, keys, choice, with_error) -> _Sums:
    per_block = cells.per_block
    num_draws = draws.near.shape[1] // per_block
    is_summed = choice.is_summed.reshape(-1, per_block)

    def one_tile(block, pairs):
        query = pairs // choice.blocks.shape[1]
        numbers = draws.near[block]
        energies, counts = _energies(u[query], numbers, temperature[query], keys)
        counts = counts[None] & ~jnp.repeat(is_summed[pairs], num_draws, axis=1)
        values = keys.values(numbers)
        return _drawn(energies, counts, values, temperature[query], num_draws, cells.size, with_error)

    parts = in_tiles(one_tile, choice.blocks, cells.num_blocks)
    scatter = _union(parts.scatter, temperature / 2) if with_error else None
    return _Sums(_union(parts.total, temperature), scatter)


def _far(u, temperature, cells, draws, keys, choice, with_error) -> _Sums:
    blocks, num_draws = draws.far.shape
    at_once = max(n for n in range(1, blocks + 1) if blocks % n == 0 and n * num_draws <= max(1024, num_draws))

    @jax.checkpoint
    def add(sums, step):
        numbers, is_far = step
        numbers = numbers.ravel()
        energies, counts = _energies(u, numbers, temperature, keys)
        counts = counts[None] & jnp.repeat(is_far.T, num_draws, axis=1)
        size = cells.size * cells.per_block
        part = _drawn(energies, counts, keys.values(numbers), temperature, num_draws, size, with_error)
        return _merge(sums, part, temperature), None

    steps = draws.far.reshape(-1, at_once, num_draws), choice.is_far.T.reshape(-1, at_once, len(u))
    channels = jax.eval_shape(keys.values, draws.far[0]).shape[1]
    total = streaming.nothing((len(u),), channels, u.dtype)
    start = _Sums(total, streaming.nothing((len(u),), 2 * channels, u.dtype) if with_error else None)
    return jax.lax.scan(add, start, steps)[0]


# --- sums over the keys of a tile ---


def _energies(u, numbers, temperature, keys) -> tuple[Float[Array, "q m"], Bool[Array, " m"]]:
    """Energies, and which keys count. By products of differences from the first key: they are near to each other."""
    v = keys.cut(numbers)
    origin = jax.lax.stop_gradient(v[:1])
    u, v = u - origin, v - origin
    squares = jnp.sum(u**2, axis=1)[:, None] - 2 * dot(u, v.T) + jnp.sum(v**2, axis=1)[None]
    log_weights = keys.log_weights(numbers)
    counts = log_weights > -jnp.inf
    weighted = squares - temperature[:, None] * jnp.where(counts, log_weights, 0)[None]
    return jnp.where(counts[None], weighted, streaming.MASKED), counts


def _drawn(energies, counts, values, temperature, num_draws, size, with_error) -> _Sums:
    """Sums over draws, so many from each of the strata of equal size one after another."""
    share = size / num_draws
    energies = jnp.where(counts, energies, streaming.MASKED)
    smallest = jax.lax.stop_gradient(energies.min(axis=1))
    weights = counts * share * jnp.exp((smallest[:, None] - energies) / temperature[:, None])
    total = Partial(smallest, dot(weights, values), weights.sum(axis=1))
    if not with_error:
        return _Sums(total, None)
    # Weights summed over each stratum, and times values.
    strata = lambda x: x.reshape(x.shape[0], -1, num_draws).sum(axis=2)  # noqa: E731
    b = strata(weights)
    a = jnp.stack([strata(weights * t[None]) for t in values.T], axis=-1)
    squares = weights**2
    factor = (1 - 1 / share) * num_draws / max(1, num_draws - 1)  # a draw alone is all that there is
    zeroth = squares.sum(axis=1) - jnp.sum(b**2, axis=1) / num_draws
    first = dot(squares, values) - jnp.sum(a * b[..., None], axis=1) / num_draws
    second = dot(squares, values**2) - jnp.sum(a**2, axis=1) / num_draws
    scatter = Partial(smallest, factor * jnp.concatenate([first, second], axis=1), factor * zeroth)
    return _Sums(total, scatter)


def _merge(a, b, temperature):
    scatter = None if a.scatter is None else streaming.merge(a.scatter, b.scatter, temperature / 2)
    return _Sums(streaming.merge(a.total, b.total, temperature), scatter)


def _union(parts: Partial, temperature) -> Partial:
    """One sum of those of each query's cells, `(q, cells, ...)`."""
    smallest = jax.lax.stop_gradient(parts.min_energy.min(axis=1))
    scale = jnp.exp((smallest[:, None] - parts.min_energy) / temperature[:, None])
    return Partial(
        smallest, jnp.sum(scale[..., None] * parts.weighted_sum, axis=1), jnp.sum(scale * parts.weight, axis=1)
    )
