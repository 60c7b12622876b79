"""Cells that are weighed key by key in the coordinates of an index, and a key drawn from each."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.theory._index.cells import BLOCK, Cells
from jaxcreativity.theory._index.draws import Places, pick
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
        off, inverse = z[query] - cells.centre[cell][None], 1 / temperature[query]
        squares = jnp.sum(jnp.square(points * unit[:, None]), axis=0)
        counts = log_weights(numbers)
        logs = 2 * dot(points.T, (off * unit[None]).T) - squares[:, None]
        logs = logs * inverse[None] + counts[:, None]
        largest = jnp.maximum(logs.max(axis=0), jnp.finfo(z.dtype).min)
        weights = jnp.exp(logs - largest[None])
        value = dot((readout * unit[:, None]).T, points)  # (c, size)
        total = jnp.maximum(weights.sum(axis=0), jnp.finfo(z.dtype).tiny)
        mean = dot(value, weights / total[None]).T
        blocks = weights.reshape(-1, BLOCK, len(pairs))
        place = places.place.ravel()[pairs]
        block, _, place = jax.vmap(pick, (1, 0))(blocks.sum(axis=1), place)
        of_block = jnp.take_along_axis(blocks, block[None, None], axis=0)[0]
        key = jax.vmap(pick, (1, 0))(of_block, place)[0]
        weight = jnp.take_along_axis(of_block, key[None], axis=0)[0]
        key = block * BLOCK + key
        base = largest - inverse * jnp.sum(jnp.square(off), axis=1)
        return Weighed(base + jnp.log(weights.sum(axis=0)), mean, numbers[key], base + jnp.log(weight), value.T[key])

    return jax.lax.stop_gradient(in_tiles(one_tile, places.cell, cells.num_cells))
