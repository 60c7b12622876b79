"""Parameters of which there is one set for each noise level."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from jaxcreativity._numerics.levels import LevelTable
from jaxcreativity.denoiser import NoiseLevel


def parameter_at(
    module: nn.Module,
    name: str,
    shape: tuple[int, ...],
    sigma: NoiseLevel,
    dtype: Any,
    init: nn.initializers.Initializer = nn.initializers.zeros_init(),  # noqa: B008
) -> Array:
    """The parameters of the level nearest to `sigma`, from a table of one array per level of `module.levels`.

    Args:
        module: to which the table belongs; its `levels` are the noise levels.
        name: of the table among the parameters, `(levels, *shape)`; weight penalties act on those ending in `kernel`.
        shape: of one level's array.
        sigma: noise level.
        dtype: of the result.
        init: initial parameters, zero by default, as the theory of early stopping assumes.
    """
    entries = module.param(name, init, (len(module.levels), *shape), dtype)
    return LevelTable(jnp.array(module.levels, jnp.result_type(float)), entries).at(sigma).astype(dtype)
