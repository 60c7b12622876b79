"""Equal cells of keys that are near each other, and how much each holds of a posterior."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, Int, Integer

from jaxcreativity import _pytree
from jaxcreativity._numerics.arithmetic import dot


@_pytree.dataclass
class Cells:
    """Keys in the order of a tree, cut into cells of one size, and these into parts.

    Args:
        keys: numbers of the keys; -1 where there is none.
        points: what the basis projects them to, less the centre of their cell, in units of `scale`.
        mean: of what the basis projects.
        basis: directions in which keys are compared, one a column.
        centre: mean of each cell in these coordinates.
        spread: its variance along each.
        num_keys: number of keys in each cell.
        num_in_part: number of keys in each part.
        part_centre: mean of each part, as `points`.
        part_spread: variance in the parts of a cell, on average.
        scale: unit of `points`.
    """

    keys: Int[Array, "*classes cells parts size"]
    points: Float16[Array, "*classes cells parts size p"]
    mean: Float[Array, "*classes d"]
    basis: Float[Array, "*classes d p"]
    centre: Float[Array, "*classes cells p"]
    spread: Float[Array, "*classes cells p"]
    num_keys: Int[Array, "*classes cells"]
    num_in_part: Int[Array, "*classes cells parts"]
    part_centre: Float16[Array, "*classes cells parts p"]
    part_spread: Float[Array, "*classes cells p"]
    scale: Float[Array, "*classes"]

    @property
    def num_cells(self) -> int:
        """Cells of a class."""
        return self.keys.shape[-3]

    def project(self, u: Float[Array, "q d"]) -> Float[Array, "q p"]:
        """Coordinates in which keys are compared."""
        return dot(u - self.mean[None], self.basis)

    def log_masses(self, z: Float[Array, "q p"], temperature: Float[Array, ""]) -> Float[Array, "q cells"]:
        """Logarithm of the sum of the weights `exp(-|z - v|^2 / T)` over each cell, but for a constant.

        For keys that are normally distributed, independently along each direction:
        `log n - 1/2 sum_i log(1 + 2 s_i / T) - sum_i (z_i - c_i)^2 / (T + 2 s_i)`.

        Args:
            z: queries.
            temperature: T.
        """
        inverse = 1 / (temperature + 2 * self.spread)
        constant = 0.5 * jnp.sum(jnp.log1p(2 * self.spread / temperature), axis=1)
        constant = constant + jnp.sum(self.centre**2 * inverse, axis=1)
        squares = 2 * dot(z, (self.centre * inverse).T) - dot(z**2, inverse.T)
        return squares + (jnp.log(self.num_keys.astype(z.dtype)) - constant)[None]


def into_cells(leaves: Integer[np.ndarray, " n"], num_cells: int) -> Int[np.ndarray, "cells m"]:
    """Numbers of the keys in cells of n / num_cells keys, rounded up, in the order of their leaves; -1 at the end.

    Args:
        leaves: leaf of each key.
        num_cells: number of cells.
    """
    order = np.argsort(leaves, kind="stable").astype(np.int32)
    ends = np.linspace(0, len(order), num_cells + 1).astype(np.int64)
    places = ends[:-1, None] + np.arange(int(np.diff(ends).max()))
    return np.where(places < ends[1:, None], order[np.minimum(places, len(order) - 1)], -1)


def num_parts(size: int) -> int:
    """Parts of a cell of so many keys: a power of two, of about twice as many parts as keys in each."""
    return 2 ** max(0, math.ceil(math.log2(size) / 2)) if size > 1 else 1


def into_parts(
    keys: Int[np.ndarray, "cells m"], points: Float[np.ndarray, "cells m p"], parts: int
) -> tuple[Int[np.ndarray, "cells parts size"], Float[np.ndarray, "cells parts size p"]]:
    """Halve each cell, again and again, at the median of the coordinate that varies most.

    Args:
        keys: numbers of keys, -1 for none.
        points: their coordinates.
        parts: a power of two.

    Returns:
        Keys and points, `(cells, parts, size)`; missing keys, -1, are the last of their part.
    """
    missing = -len(keys[0]) % parts
    keys = np.pad(keys, ((0, 0), (0, missing)), constant_values=-1)
    points = np.pad(points, ((0, 0), (0, missing), (0, 0)))
    num_cells, size = keys.shape
    for _ in range(parts.bit_length() - 1):
        some, of = keys.reshape(-1, size), points.reshape(-1, size, points.shape[-1])
        counts = (some >= 0)[..., None]
        along = of.var(axis=1, where=counts | ~counts.any(axis=1, keepdims=True)).argmax(axis=1)
        coordinate = np.take_along_axis(of, along[:, None, None], axis=2)[..., 0]
        # Missing keys go to both halves alike, lest one have none.
        order = np.argsort(np.where(some >= 0, coordinate, np.inf), axis=1, kind="stable")
        num = counts.sum(axis=1)
        rank = np.arange(size)[None]
        half = (num + 1) // 2
        first = np.where(rank < half, rank, num + rank - half)
        second = rank - size // 2 + half
        second = np.where(second < num, second, second + size // 2 - half)
        place = np.where(rank < size // 2, first, second)
        order = np.take_along_axis(order, place, axis=1)
        keys = np.take_along_axis(some, order, axis=1)
        points = np.take_along_axis(of, order[..., None], axis=1)
        size //= 2
    shape = num_cells, parts, size
    return keys.reshape(shape), points.reshape(*shape, -1)
