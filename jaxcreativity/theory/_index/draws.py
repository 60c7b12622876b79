"""Cells drawn by what they weigh in a posterior, about."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity.theory._index.cells import Cells

EXPLORED = 0.05
"""Share of the draws that go to cells whatever they seem to weigh, which bounds the weight of any draw."""


BLOCK = 64
"""Cells that are looked through together; a power of two, as is the number of cells."""


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
    # Block by block: sums along all cells take longer than what they are of.
    blocks = chance.reshape(len(chance), -1, min(BLOCK, chance.shape[1]))
    block, of_block, place = jax.vmap(pick)(blocks.sum(axis=2), along)
    of = jax.vmap(jax.vmap(pick))
    cell, of_cell, place = of(jnp.take_along_axis(blocks, block[..., None], axis=1), place)
    cell = block * blocks.shape[2] + cell
    return Places(cell, jnp.log(of_block * of_cell), (place + turns[cell]) % 1)


def heaviest(log_masses: Float[Array, "q cells"], num: int) -> Int[Array, "q num"]:
    """The cells of largest mass, which are in the blocks of largest maximum."""
    (q, cells), size = log_masses.shape, min(BLOCK, log_masses.shape[1])
    if num * size >= cells:
        return jax.lax.top_k(log_masses, num)[1]
    blocks = log_masses.reshape(q, -1, size)
    near = jax.lax.top_k(blocks.max(axis=2), num)[1]
    some = jnp.take_along_axis(blocks, near[..., None], axis=1).reshape(q, -1)
    at = jax.lax.top_k(some, num)[1]
    return jnp.take_along_axis(near, at // size, axis=1) * size + at % size


def pick(weights: Float[Array, " n"], place: Float[Array, "*m"]) -> tuple[Array, Array, Array]:
    """Which of some weights lies at a place, a share of their sum; its share; and where in it the place lies.

    Never one that is 0: places that are rounded to the end are moved before it.
    """
    ends = jnp.cumsum(weights)
    at = jnp.minimum(place, 1 - jnp.finfo(ends.dtype).eps) * ends[-1]
    index = jnp.searchsorted(ends, at, side="right") if at.ndim else jnp.sum(ends <= at)
    return index, weights[index] / ends[-1], jnp.clip(1 - (ends[index] - at) / weights[index], 0, 1)
