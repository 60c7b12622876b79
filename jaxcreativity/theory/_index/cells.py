"""Equal cells of keys that are near each other, and how much each holds of a posterior."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int, Int8, Integer

from jaxcreativity import _pytree
from jaxcreativity._numerics.arithmetic import dot

BLOCK = 16
"""Cells have places for a multiple of so many keys."""

LEADING = 16
"""Coordinates in which cells are weighed as a whole, at most."""


@_pytree.dataclass
class Cells:
    """Keys in the order of a tree, cut into cells of one size.

    Args:
        keys: numbers of the keys; -1 where there is none.
        points: what the basis projects them to, less the centre of their cell, in units of `unit`; 0 for no key.
        mean: of what the basis projects.
        basis: directions in which keys are compared, one a column, those in which they vary most first.
        centre: mean of each cell in these coordinates.
        unit: of `points`, of each cell along each.
        spread: variance of each cell along the leading ones.
        num_keys: number of keys in each cell.
    """

    keys: Int[Array, "*classes cells size"]
    points: Int8[Array, "*classes cells p size"]
    mean: Float[Array, "*classes d"]
    basis: Float[Array, "*classes d p"]
    centre: Float[Array, "*classes cells p"]
    unit: Float[Array, "*classes cells p"]
    spread: Float[Array, "*classes cells leading"]
    num_keys: Int[Array, "*classes cells"]

    @property
    def num_cells(self) -> int:
        """Cells of a class."""
        return self.keys.shape[-2]

    def num_cells_of(self, num_keys: int, total: int) -> int:
        """How many cells hold so many of all keys of a class."""
        return min(self.num_cells, -(-num_keys * self.num_cells // total))

    def astype(self, dtype: DTypeLike) -> "Cells":
        """These cells, with real numbers of this type."""
        return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, self)

    def project(self, u: Float[Array, "q d"]) -> Float[Array, "q p"]:
        """Coordinates in which keys are compared."""
        return dot(u - self.mean[None], self.basis)

    def log_masses(self, z: Float[Array, "q p"], temperature: Float[Array, ""]) -> Float[Array, "q cells"]:
        """Logarithm of the sum of the weights `exp(-|z - v|^2 / T)` over each cell, but for a constant.

        For keys that are normally distributed, independently along each of the leading directions:
        `log n - 1/2 sum_i log(1 + 2 s_i / T) - sum_i (z_i - c_i)^2 / (T + 2 s_i)`.

        Args:
            z: queries.
            temperature: T.
        """
        leading = self.spread.shape[1]
        z, centre = z[:, :leading], self.centre[:, :leading]
        inverse = 1 / (temperature + 2 * self.spread)
        constant = 0.5 * jnp.sum(jnp.log1p(2 * self.spread / temperature), axis=1)
        constant = constant + jnp.sum(centre**2 * inverse, axis=1)
        squares = 2 * dot(z, (centre * inverse).T) - dot(z**2, inverse.T)
        return squares + (jnp.log(self.num_keys.astype(z.dtype)) - constant)[None]


def places_per_cell(num_keys: int, num_cells: int) -> int:
    """Places for keys in each cell."""
    return BLOCK * math.ceil(math.ceil(num_keys / num_cells) / BLOCK)


def into_cells(leaves: Integer[np.ndarray, " n"], num_cells: int) -> Int[np.ndarray, "cells size"]:
    """Numbers of the keys in cells of n / num_cells keys, rounded up, in the order of their leaves; -1 at the end.

    Args:
        leaves: leaf of each key.
        num_cells: number of cells.
    """
    order = np.argsort(leaves, kind="stable").astype(np.int32)
    ends = np.linspace(0, len(order), num_cells + 1).astype(np.int64)
    cells = np.full((num_cells, places_per_cell(len(order), num_cells)), -1, np.int32)
    for cell, first, last in zip(cells, ends[:-1], ends[1:], strict=True):
        cell[: last - first] = order[first:last]
    return cells
