"""Whatever differs from noise level to noise level, in one table with one look-up."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxcreativity import _pytree


def nearest_level(levels: Float[ArrayLike, " levels"], sigma: Float[ArrayLike, ""] | int) -> Int[Array, ""]:
    """Index of the entry of `levels`, positive, nearest to `sigma` in ratio; of the smallest for `sigma = 0`."""
    levels = jnp.asarray(levels, dtype=jnp.result_type(float))
    sigma = jnp.maximum(jnp.asarray(sigma, levels.dtype), jnp.finfo(levels.dtype).tiny)
    return jnp.argmin(jnp.abs(jnp.log(levels) - jnp.log(sigma)))


@_pytree.dataclass
class LevelTable:
    """Coefficients of any structure, one set for each noise level.

    Args:
        levels: `(levels,)`, positive noise levels.
        entries: pytree of arrays whose first axis is that of the levels.
    """

    levels: Float[Array, " levels"]
    entries: Any

    def at(self, sigma: Float[ArrayLike, ""] | int) -> Any:
        """The entries of the level nearest to `sigma` in ratio."""
        index = nearest_level(self.levels, sigma)
        return jax.tree.map(lambda entry: entry[index], self.entries)

    def level(self, sigma: Float[ArrayLike, ""] | int) -> Float[Array, ""]:
        """That level itself."""
        return self.levels[nearest_level(self.levels, sigma)]
