"""Whether a module can be a denoiser of given images, before anything is computed."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def check_module(module: nn.Module, shape: Sequence[int]) -> None:
    """Check that a module is a pure function of its parameters that returns its input's shape; only shapes are traced.

    Args:
        module: Linen module `module(y_scaled, sigma) -> output` on one example.
        shape: of an example.

    Raises:
        ValueError: if it is not, with what is wrong.

    Example:
        >>> from jaxcreativity import networks
        >>> check_module(networks.MinimalResNet(depth=2, width=8), (8, 8, 1))
    """
    shape = tuple(shape)
    y, sigma = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    try:
        out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), y, sigma)
    except TypeError as error:
        raise ValueError(f"{type(module).__name__} is not called as module(y_scaled, sigma): {error}") from error
    if out.shape != shape or set(variables) != {"params"}:
        raise ValueError(
            f"{type(module).__name__} must return the shape {shape} and have parameters only, got {out.shape} and "
            f"the collections {sorted(variables)}"
        )
