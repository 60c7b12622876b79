"""Equal cells of keys that are near each other, and how much each holds of a posterior."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray

from jaxcreativity import _pytree
from jaxcreativity._numerics.arithmetic import dot

PER_BLOCK = 128
"""Cells in a block: what is looked up first."""


@_pytree.dataclass
class Cells:
    """Keys in the order of a tree, cut into cells of one size, and cells into blocks.

    Args:
        keys: numbers of the keys, in random order in each cell; -1 where a cell has one key less.
        mean: of what the basis projects.
        basis: directions in which cells are compared, one a column.
        centre: mean of each cell in these coordinates.
        spread: its variance along each.
    """

    keys: Int[Array, "*classes cells size"]
    mean: Float[Array, "*classes d"]
    basis: Float[Array, "*classes d p"]
    centre: Float[Array, "*classes cells p"]
    spread: Float[Array, "*classes cells p"]

    @property
    def size(self) -> int:
        """Places in a cell."""
        return self.keys.shape[-1]

    @property
    def per_block(self) -> int:
        """Cells in a block."""
        return min(PER_BLOCK, self.keys.shape[-2])

    @property
    def num_blocks(self) -> int:
        """Blocks of all cells."""
        return self.keys.shape[-2] // self.per_block

    def log_masses(
        self, u: Float[Array, "q d"], temperature: Float[Array, ""]
    ) -> tuple[Float[Array, "q blocks"], Float[Array, "q cells"]]:
        """Logarithm of the mean weight `exp(-|u - v|^2 / T)` of the keys of each block and cell, but for a constant.

        For keys that are normally distributed, independently along each direction:
        `-1/2 sum_i log(1 + 2 s_i / T) - sum_i (u_i - c_i)^2 / (T + 2 s_i)`.

        Args:
            u: queries.
            temperature: T.
        """
        z = dot(u - self.mean[None], self.basis)
        centre, spread = (x.reshape(self.num_blocks, self.per_block, -1) for x in (self.centre, self.spread))
        wide = spread.mean(axis=1) + centre.var(axis=1)
        return (
            _log_masses(z, centre.mean(axis=1), wide, temperature),
            _log_masses(z, self.centre, self.spread, temperature),
        )


def _log_masses(z, centre, spread, temperature):
    inverse = 1 / (temperature + 2 * spread)
    constant = 0.5 * jnp.sum(jnp.log1p(2 * spread / temperature), axis=1) + jnp.sum(centre**2 * inverse, axis=1)
    return 2 * dot(z, (centre * inverse).T) - dot(z**2, inverse.T) - constant[None]


@_pytree.dataclass
class Draws:
    """Keys that stand for others, drawn without replacement; -1 for places without a key.

    Args:
        near: `(blocks, cells of a block * draws)`: some of each cell.
        far: `(blocks, draws)`: some of each block.
    """

    near: Int[Array, "*classes blocks near"]
    far: Int[Array, "*classes blocks far"]

    @classmethod
    def of(cls, cells: Cells, num_near: int, num_far: int, key: PRNGKeyArray) -> "Draws":
        """Draw from each cell and from each block.

        Args:
            cells: of one class.
            num_near: draws from a cell, at most as many as it has places.
            num_far: draws from a block: a multiple of its cells, or at most as many.
            key: random key.
        """
        blocks, per_block = cells.num_blocks, cells.per_block
        near_key, cell_key, far_key = jax.random.split(key, 3)
        near = _runs(cells.keys, num_near, near_key)
        shuffle = lambda key: jax.random.permutation(key, per_block)[:num_far]  # noqa: E731
        chosen = jax.vmap(shuffle)(jax.random.split(cell_key, blocks)) + per_block * jnp.arange(blocks)[:, None]
        far = _runs(cells.keys[chosen.ravel()], max(1, num_far // per_block), far_key)
        return cls(near.reshape(blocks, -1), far.reshape(blocks, -1))


def _runs(cells, length, key) -> Int[Array, "cells length"]:
    """Some keys of each cell. Their order is random: a run of it, from anywhere on, is a sample."""
    first = jax.random.randint(key, (len(cells), 1), 0, cells.shape[1])
    return jnp.take_along_axis(cells, (first + jnp.arange(length)[None]) % cells.shape[1], axis=1)


def into_cells(
    leaves: Integer[np.ndarray, " n"], num_cells: int, rng: np.random.Generator
) -> Int[np.ndarray, "cells m"]:
    """Numbers of the keys in cells of n / num_cells keys, rounded up, in the order of their leaves.

    Args:
        leaves: leaf of each key.
        num_cells: number of cells.
        rng: shuffles the keys of a cell.
    """
    order = np.argsort(leaves, kind="stable").astype(np.int32)
    ends = np.linspace(0, len(order), num_cells + 1).astype(np.int64)
    size = int(np.diff(ends).max())
    places = ends[:-1, None] + np.arange(size)
    cells = np.where(places < ends[1:, None], order[np.minimum(places, len(order) - 1)], -1)
    return rng.permuted(cells, axis=1, out=cells)
