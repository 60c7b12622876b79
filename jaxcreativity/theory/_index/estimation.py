"""A posterior mean from whole cells near the query and from draws elsewhere, with its standard error.

With keys v_j, their values t_j and energies E_j the mean is `A / B`, with `A = sum_j w_j t_j`, `B = sum_j w_j` and
`w_j = exp(-E_j / T)`. The cells that weigh most are summed key by key. Of all others m keys are drawn, j with a chance
p_j near to its share of the posterior (`draws`), and each counts `1 / (m p_j)` times. A is off by `e_j = w_j / (m p_j)
(t_j - A / B)` of the draws. They are systematic, so that those next to each other are alike; by their differences the
variance of A / B is

    1 / B^2 m / (2 (m - 1)) sum_j (e_(j+1) - e_j)^2

(Wolter, Introduction to Variance Estimation, chapter 8). Queries of a whole batch that look into one cell are
multiplied with its keys together.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.arithmetic import dot, safe_sqrt
from jaxcreativity._numerics.streaming import Partial
from jaxcreativity.theory._index.cells import Cells
from jaxcreativity.theory._index.draws import draw_cells, draw_keys
from jaxcreativity.theory._index.tiles import in_tiles

QUERIES_PER_STEP = 16
"""Queries whose cells are weighed at once."""

DRAWS_PER_STEP = 2**14
"""Draws that are looked up at once."""


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
        standard_error: of each entry.
    """

    mean: Float[Array, "b q c"]
    standard_error: Float[Array, "b q c"]


class _Sums(NamedTuple):
    """Sums over keys, and those that their variance is made of, by power of A / B.

    Weights of the second are squared, so that its temperature is T / 2.
    """

    total: Partial
    scatter: Partial


def estimate(
    u: Float[Array, "b q d"],
    temperatures: Float[Array, " b"],
    cells: Cells,
    keys: Keys,
    *,
    num_cells: int,
    num_draws: int,
    key: PRNGKeyArray,
) -> Estimate:
    """Posterior means of queries over the keys of one class.

    Args:
        u: queries of some examples.
        temperatures: of each example.
        cells: of the keys.
        keys: looks them up.
        num_cells: cells that are summed key by key, for each query.
        num_draws: draws from the others, for each query; at least 2.
        key: random key of the draws.
    """
    num_cells = min(num_cells, cells.num_cells)
    (b, q), d = u.shape[:2], u.shape[2]
    start_key, turn_key = jax.random.split(key)
    starts = jnp.tile(jax.random.uniform(start_key, (q,), u.dtype), b)
    turns = jax.random.uniform(turn_key, (cells.num_cells,), u.dtype)

    def look(args):
        z, temperature, starts = args
        masses = cells.log_masses(z, temperature)
        near = jax.lax.top_k(masses, num_cells)[1]
        if num_cells == cells.num_cells:
            return near, None
        masses = masses.at[jnp.arange(len(z))[:, None], near].set(-jnp.inf)
        return near, draw_cells(masses, cells, starts, turns, num_draws)

    step = batching.largest_divisor(q, QUERIES_PER_STEP)
    z = cells.project(jax.lax.stop_gradient(u.reshape(-1, d))).astype(u.dtype)
    steps = z.reshape(-1, step, z.shape[1]), jnp.repeat(jax.lax.stop_gradient(temperatures), q // step)
    looked = jax.lax.map(look, (*steps, starts.reshape(-1, step)))
    near, places = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), looked)
    u, temperature = u.reshape(-1, d), jnp.repeat(temperatures, q)
    total = _whole_cells(u, temperature, cells, keys, near)
    if places is None:
        mean = total.mean.reshape(b, q, -1)
        return Estimate(mean, jnp.zeros_like(mean))
    drawn = _drawn(u, z, temperature, cells, keys, places)
    total, scatter = streaming.merge(total, drawn.total, temperature), drawn.scatter
    mean = total.mean
    first, second = jnp.split(scatter.weighted_sum, 2, axis=-1)
    variance = second - 2 * mean * first + mean**2 * scatter.weight[:, None]
    scale = jnp.exp((total.min_energy - scatter.min_energy) / temperature) / total.weight
    error = safe_sqrt(jnp.maximum(variance, 0)) * scale[:, None]
    return Estimate(mean.reshape(b, q, -1), error.reshape(b, q, -1))


# --- the two parts ---


def _whole_cells(u, temperature, cells, keys, near) -> Partial:
    def one_tile(cell, pairs):
        query = pairs // near.shape[1]
        numbers = cells.keys[cell].ravel()
        v = keys.cut(numbers)
        # Products of differences from the first key: they are near to each other.
        origin = jax.lax.stop_gradient(v[:1])
        of, v = u[query] - origin, v - origin
        squares = jnp.sum(of**2, axis=1)[:, None] - 2 * dot(of, v.T) + jnp.sum(v**2, axis=1)[None]
        log_weights = keys.log_weights(numbers)
        energies = jax.vmap(_weighted, (0, 0, None))(squares, temperature[query], log_weights)
        sums = jax.vmap(streaming.partial, (0, None, 0, None))
        return sums(energies, keys.values(numbers), temperature[query], log_weights > -jnp.inf)

    parts = in_tiles(one_tile, near, cells.num_cells)
    smallest = jax.lax.stop_gradient(parts.min_energy.min(axis=1))
    scale = jnp.exp((smallest[:, None] - parts.min_energy) / temperature[:, None])
    return Partial(
        smallest, jnp.sum(scale[..., None] * parts.weighted_sum, axis=1), jnp.sum(scale * parts.weight, axis=1)
    )


def _drawn(u, z, temperature, cells, keys, places) -> _Sums:
    """Sums over draws, which are looked up in the order of their cells: what is read once is still at hand."""
    shape, num_draws = places.cell.shape, places.cell.shape[1]
    places = jax.tree.map(jnp.ravel, places)
    order = jnp.argsort(places.cell)

    @jax.checkpoint
    def look_up(order):
        query = order // num_draws
        at = jax.tree.map(lambda x: x[order], places)
        numbers, log_chances = draw_keys(z[query], jax.lax.stop_gradient(temperature[query]), cells, at)
        squares = jnp.sum(jnp.square(u[query] - keys.cut(numbers)), axis=1)
        log_weights = keys.log_weights(numbers) - log_chances.astype(u.dtype) - jnp.log(num_draws).astype(u.dtype)
        return squares, log_weights, keys.values(numbers)

    def back(x):
        x = x.reshape(order.size, *x.shape[2:])
        return jnp.zeros_like(x).at[order].set(x, unique_indices=True).reshape(*shape, *x.shape[1:])

    steps = order.reshape(-1, batching.largest_divisor(order.size, DRAWS_PER_STEP))
    squares, log_weights, values = map(back, jax.lax.map(look_up, steps))
    energies = _weighted(squares, temperature[:, None], log_weights)
    smallest = jax.lax.stop_gradient(energies.min(axis=1))
    weights = (log_weights > -jnp.inf) * jnp.exp((smallest[:, None] - energies) / temperature[:, None])
    weighted = weights[..., None] * values
    total = Partial(smallest, weighted.sum(axis=1), weights.sum(axis=1))
    steps, of_weighted = jnp.diff(weights), jnp.diff(weighted, axis=1)
    factor = num_draws / (2 * (num_draws - 1))
    powers = jnp.concatenate([jnp.sum(steps[..., None] * of_weighted, axis=1), jnp.sum(of_weighted**2, axis=1)], axis=1)
    return _Sums(total, Partial(smallest, factor * powers, factor * jnp.sum(steps**2, axis=1)))


def _weighted(squares, temperature, log_weights):
    """Energies of the keys that count, of squared distances."""
    counts = log_weights > -jnp.inf
    return jnp.where(counts, squares - temperature * jnp.where(counts, log_weights, 0), streaming.MASKED)
