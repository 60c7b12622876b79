"""Keys drawn by what they weigh in a posterior, about: down a tree, from cells to parts to keys."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity.theory._index.cells import Cells

EXPLORED = 0.05
"""Share of the draws that go to cells whatever they seem to weigh, which bounds the weight of any draw."""


class Places(NamedTuple):
    """Where draws lie, for some queries.

    Attributes:
        cell: in which cell.
        log_chance: logarithm of how likely it was.
        place: where in the cell, as a share of it.
    """

    cell: Int[Array, "*draws"]
    log_chance: Float[Array, "*draws"]
    place: Float[Array, "*draws"]


def draw_cells(
    log_masses: Float[Array, "q cells"],
    cells: Cells,
    starts: Float[Array, " q"],
    turns: Float[Array, " cells"],
    num_draws: int,
) -> Places:
    """Systematic draws, with replacement: all keys lie along one line, and draws are at equal distances on it.

    They are in the order of the line, so that neighbours are alike.

    Args:
        log_masses: logarithm of how likely each cell is, but for a constant; -inf for none.
        cells: of the keys.
        starts: of each query, the first draw, as a share of the distance of two: uniform between 0 and 1.
        turns: of each cell, by how much of it its line is turned: uniform between 0 and 1. The place in a cell that is
            not likely is otherwise lost to rounding.
        num_draws: m.

    Returns:
        Places, `(q, m)`.
    """
    sizes = jnp.where(log_masses > -jnp.inf, cells.num_keys[None], 0)
    chance = (1 - EXPLORED) * jax.nn.softmax(log_masses) + EXPLORED * sizes / sizes.sum(axis=1, keepdims=True)
    along = (jnp.arange(num_draws)[None] + starts[:, None]) / num_draws
    cell, of_cell, place = jax.vmap(_pick)(chance, along)
    return Places(cell, jnp.log(of_cell), (place + turns[cell]) % 1)


def draw_keys(
    z: Float[Array, "a p"], temperature: Float[Array, " a"], cells: Cells, places: Places
) -> tuple[Int[Array, " a"], Float[Array, " a"]]:
    """Number of the key at each place, and the logarithm of its chance.

    The chance is that of the cell, times those of its part in the cell and its own in the part, as weights
    `exp(-|z - v|^2 / T)` in the coordinates of the index have it.

    Args:
        z: query of each draw.
        temperature: T of each.
        cells: of the keys.
        places: of the draws, `(a,)`.
    """
    return jax.vmap(_key, (0, 0, None, 0))(z, temperature, cells, places)


def _key(z, temperature, cells, at):
    cell, scale = at.cell, cells.scale.astype(z.dtype)
    z = z - cells.centre[cell]
    squares = jnp.square(z[None] - scale * cells.part_centre[cell].astype(z.dtype))
    energies = jnp.sum(squares / (temperature + 2 * cells.part_spread[cell])[None], axis=1)
    counts = cells.num_in_part[cell]
    energies = jnp.where(counts > 0, energies, jnp.inf)
    part, of_part, place = _pick(counts * jnp.exp(energies.min() - energies), at.place)
    keys = cells.keys[cell, part]
    energies = jnp.sum(jnp.square(z[None] - scale * cells.points[cell, part].astype(z.dtype)), axis=1)
    energies = jnp.where(keys >= 0, energies, jnp.inf)
    key, of_key, _ = _pick(jnp.exp((energies.min() - energies) / temperature), place)
    return keys[key], at.log_chance + jnp.log(of_part) + jnp.log(of_key)


def _pick(weights, place):
    """Which of some weights lies at a place, a share of their sum; its share; and where in it the place lies.

    Never one that is 0: places that are rounded to the end are moved before it.
    """
    ends = jnp.cumsum(weights)
    at = jnp.minimum(place, 1 - jnp.finfo(ends.dtype).eps) * ends[-1]
    index = jnp.searchsorted(ends, at, side="right") if at.ndim else jnp.sum(ends <= at)
    return index, weights[index] / ends[-1], jnp.clip(1 - (ends[index] - at) / weights[index], 0, 1)
