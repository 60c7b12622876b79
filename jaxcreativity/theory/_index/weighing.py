"""Cells that are weighed key by key in the coordinates of an index, and a key drawn from each."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.exponential import exp2
from jaxcreativity.theory._index.cells import BLOCK, Cells
from jaxcreativity.theory._index.draws import Places
from jaxcreativity.theory._index.tiles import in_tiles


class Weighed(NamedTuple):
    """What cells weigh, and a key drawn from each, of some draws; weights are `exp(-|z - v|^2 / T)` of their keys.

    Attributes:
        log_mass: logarithm of the sum of the weights of a cell; -inf where no key counts.
        mean: of the coordinates that are read out, by these weights.
        number: of the key.
        log_weight: of the key.
        value: of the key, as `mean`.
    """

    log_mass: Float[Array, "*draws"]
    mean: Float[Array, "*draws c"]
    number: Int[Array, "*draws"]
    log_weight: Float[Array, "*draws"]
    value: Float[Array, "*draws c"]


def weigh(
    z: Float[Array, "q p"],
    temperature: Float[Array, " q"],
    cells: Cells,
    places: Places,
    log_weights: Callable[[Int[Array, " size"]], Float[Array, " size"]],
    readout: Float[Array, "p c"],
) -> Weighed:
    """Weigh the cells of draws, each drawing the key at its place by its weight; those of one cell are done together.

    Args:
        z: queries.
        temperature: T of each.
        cells: of the keys.
        places: of the draws, `(q, m)`.
        log_weights: numbers of keys -> logarithms of how much each counts.
        readout: what is read out of coordinates.

    Returns:
        `(q, m, ...)`.
    """
    num_draws = places.cell.shape[1]

    def one_tile(cell, pairs):
        query = pairs // num_draws
        unit, numbers, points = cells.unit[cell], cells.keys[cell], cells.points[cell].astype(z.dtype)
        off, inverse = z[query] - cells.centre[cell][None], 1 / (math.log(2) * temperature[query])
        counts = log_weights(numbers)
        squares = jnp.sum(jnp.square(points) * jnp.square(unit)[:, None], axis=0)
        # Logarithms to base 2.
        logs = dot(points.T, (2 * inverse[:, None] * off * unit[None]).T) - squares[:, None] * inverse[None]
        logs = logs + counts[:, None] / math.log(2)
        largest = jnp.maximum(logs.max(axis=0), jnp.finfo(z.dtype).min)
        weights = jnp.where(counts[:, None] > -jnp.inf, exp2(logs - largest[None]), 0)
        value = dot((readout * unit[:, None]).T, points)  # (c, size)
        sums = dot(jnp.concatenate([value, jnp.ones_like(value, shape=(1, len(numbers)))]), weights)
        block, share = _pick(weights.reshape(-1, BLOCK, len(pairs)).sum(axis=1), places.place.ravel()[pairs])
        of_block = jax.vmap(lambda first, column: jax.lax.dynamic_slice(column, (first,), (BLOCK,)), (0, 1), 1)(
            block * BLOCK, weights
        )
        key = block * BLOCK + _pick(of_block, share)[0]
        weight = jnp.take_along_axis(weights, key[None], axis=0)[0]
        base = math.log(2) * (largest - inverse * jnp.sum(jnp.square(off), axis=1))
        return Weighed(
            base + jnp.log(sums[-1]), (sums[:-1] / jnp.maximum(sums[-1:], jnp.finfo(z.dtype).tiny)).T,
            numbers[key], base + jnp.log(weight), value[:, key].T,
        )  # fmt: skip

    return jax.lax.stop_gradient(in_tiles(one_tile, places.cell, cells.num_cells))


def _pick(weights, place):
    """As `draws.pick`, of every column; sums by a product of matrices, which is quicker than one after the other."""
    n = len(weights)
    ends = dot(jnp.tril(jnp.ones((n, n), weights.dtype)), weights)
    at = place * ends[-1]
    index = jnp.minimum(jnp.sum(ends <= at[None], axis=0), n - 1)
    end, weight = (jnp.take_along_axis(x, index[None], axis=0)[0] for x in (ends, weights))
    return index, jnp.clip(1 - (end - at) / jnp.where(weight > 0, weight, 1), 0, 1)
