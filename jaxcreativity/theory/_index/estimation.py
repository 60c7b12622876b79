"""A posterior mean from whole cells near the query and from draws elsewhere, with its standard error.

With keys v_j, their values t_j and energies E_j the mean is `A / B`, with `A = sum_j w_j t_j`, `B = sum_j w_j` and
`w_j = exp(-E_j / T)`. The cells that weigh most are summed key by key. Of the others m are drawn, with a chance P near
to their share of the posterior (`draws`), and their keys weighed in the coordinates of the index (`weighing`): that
gives the mass W of a cell, the mean s of what the coordinates tell of the values, and a key j that is drawn by its
weight W_j, of which they tell s_j. A draw stands for `b = w_j / (m P W_j / W)` of B and for

    b t_j + R f (s - s_j),    f = W / (m P),    R = sum b / sum f

of A. The second term is zero on average: it takes out what the keys of a cell have to do with the value (a control
variate). With `e = b (t_j - A / B) + R f (s - s_j)` of each draw, and as draws are systematic, so that what is next to
each other lies on a line but for chance, the variance of A / B is

    1 / B^2 m / (6 (m - 2)) sum_i (e_(i+1) - 2 e_i + e_(i-1))^2

(Wolter, Introduction to Variance Estimation, chapter 8). Queries of a whole batch that look into one cell are
multiplied with its keys together.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.arithmetic import dot, safe_sqrt
from jaxcreativity._numerics.streaming import Partial
from jaxcreativity.theory._index.cells import Cells
from jaxcreativity.theory._index.draws import draw_cells, heaviest
from jaxcreativity.theory._index.tiles import in_tiles
from jaxcreativity.theory._index.weighing import weigh

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
        readout: what coordinates tell of values, but for a constant; `None` if that is not to be used.
    """

    cut: Callable[[Int[Array, " m"]], Float[Array, "m d"]]
    values: Callable[[Int[Array, " m"]], Float[Array, "m c"]]
    log_weights: Callable[[Int[Array, " m"]], Float[Array, " m"]]
    readout: Float[Array, "p c"] | None


class Estimate(NamedTuple):
    """A posterior mean.

    Attributes:
        mean: `(examples, queries, c)`.
        standard_error: of each entry.
    """

    mean: Float[Array, "b q c"]
    standard_error: Float[Array, "b q c"]


def checked_budget(num_head: int, num_tail: int, largest: int, what: str) -> None:
    """Check how much is summed and drawn.

    Args:
        num_head: keys that are summed.
        num_tail: draws.
        largest: number of keys.
        what: what they are.

    Raises:
        ValueError: for a head below 1, a tail below 3, or more of one than there are keys.
    """
    for name, number in (("num_head", num_head), ("num_tail", num_tail)):
        if _checks.positive_int(name, number) > largest:
            raise ValueError(f"{name} must be at most the number of {what}, {largest}, got {number}")
    if num_tail < 3:
        raise ValueError(f"num_tail must be at least 3: their differences are the error; got {num_tail}")


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
        num_draws: draws from the others, for each query; at least 3.
        key: random key of the draws.
    """
    num_cells = min(num_cells, cells.num_cells)
    cells = cells.astype(u.dtype)
    (b, q), d = u.shape[:2], u.shape[2]
    start_key, turn_key = jax.random.split(key)
    starts = jnp.tile(jax.random.uniform(start_key, (q,), u.dtype), b)
    turns = jax.random.uniform(turn_key, (cells.num_cells,), u.dtype)

    def look(args):
        z, temperature, starts = args
        masses = cells.log_masses(z, temperature)
        near = heaviest(masses, num_cells)
        if num_cells == cells.num_cells:
            return near, None
        masses = masses.at[jnp.arange(len(z))[:, None], near].set(-jnp.inf)
        return near, draw_cells(masses, cells, starts, turns, num_draws)

    step = batching.largest_divisor(q, QUERIES_PER_STEP)
    z = cells.project(jax.lax.stop_gradient(u.reshape(-1, d)))
    steps = z.reshape(-1, step, z.shape[1]), jnp.repeat(jax.lax.stop_gradient(temperatures), q // step)
    looked = jax.lax.map(look, (*steps, starts.reshape(-1, step)))
    near, places = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), looked)
    u, temperature = u.reshape(-1, d), jnp.repeat(temperatures, q)
    total = _whole_cells(u, temperature, cells, keys, near)
    if places is None:
        mean = total.mean.reshape(b, q, -1)
        return Estimate(mean, jnp.zeros_like(mean))
    drawn = _drawn(u, z, temperature, cells, keys, places)
    total = streaming.merge(total, drawn.total(), temperature)
    scale = jnp.exp((total.min_energy - drawn.min_energy) / temperature) / total.weight
    error = scale[:, None] * drawn.standard_error(total.mean)
    return Estimate(*(x.reshape(b, q, -1) for x in (total.mean, error)))


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


class _Drawn(NamedTuple):
    """What draws stand for, by query.

    Attributes:
        min_energy: of the keys drawn, as of partial sums.
        weight: b, relative to it.
        values: t_j.
        control: `R f (s - s_j)`.
    """

    min_energy: Float[Array, " q"]
    weight: Float[Array, "q m"]
    values: Float[Array, "q m c"]
    control: Float[Array, "q m c"] | Float[Array, ""]

    def total(self) -> Partial:
        weighted_sum = jnp.sum(self.weight[..., None] * self.values + self.control, axis=1)
        return Partial(self.min_energy, weighted_sum, self.weight.sum(axis=1))

    def standard_error(self, mean) -> Float[Array, "q c"]:
        """Of A - B A / B."""
        m = self.weight.shape[1]
        off = self.weight[..., None] * (self.values - mean[:, None]) + self.control
        return safe_sqrt(m / (6 * (m - 2)) * jnp.sum(jnp.square(jnp.diff(off, 2, axis=1)), axis=1))


def _drawn(u, z, temperature, cells, keys, places) -> _Drawn:
    shape = places.cell.shape
    readout = jnp.zeros((z.shape[1], 0)) if keys.readout is None else keys.readout
    found = weigh(z, jax.lax.stop_gradient(temperature), cells, places, keys.log_weights, readout.astype(u.dtype))
    # Of a cell without keys that count; rarely, a key without weight to which rounding brought the place.
    there = (found.log_mass > -jnp.inf) & (found.log_weight > -jnp.inf)
    log_masses = jnp.where(there, found.log_mass - places.log_chance, -jnp.inf)
    log_inverse = jnp.where(there, log_masses - found.log_weight, -jnp.inf)

    @jax.checkpoint
    def look_up(draws):
        query = draws // shape[1]
        numbers = found.number.ravel()[draws]
        squares = jnp.sum(jnp.square(u[query] - keys.cut(numbers)), axis=1)
        return squares, keys.log_weights(numbers) + log_inverse.ravel()[draws], keys.values(numbers)

    steps = jnp.arange(places.cell.size).reshape(-1, batching.largest_divisor(places.cell.size, DRAWS_PER_STEP))
    looked = jax.lax.map(look_up, steps)
    squares, log_weights, values = (x.reshape(*shape, *x.shape[2:]) for x in looked)
    energies = _weighted(squares, temperature[:, None], log_weights)
    smallest = jax.lax.stop_gradient(energies.min(axis=1))
    weight = (log_weights > -jnp.inf) * jnp.exp((smallest[:, None] - energies) / temperature[:, None]) / shape[1]
    control = jnp.zeros((), u.dtype)
    if keys.readout is not None:
        control = jax.nn.softmax(log_masses)[..., None] * (found.mean - found.value)
        control = jnp.where(there[..., None], control, 0) * weight.sum(axis=1)[:, None, None]
    return _Drawn(smallest, weight, values, control)


def _weighted(squares, temperature, log_weights):
    """Energies of the keys that count, of squared distances."""
    counts = log_weights > -jnp.inf
    return jnp.where(counts, squares - temperature * jnp.where(counts, log_weights, 0), streaming.MASKED)
