"""What is asked of a network that a patch denoiser is compared with."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxcreativity import generation
from jaxcreativity.denoiser import Denoiser


def compiled(function: Callable, denoiser: Denoiser) -> Callable:
    """`function(denoiser, ...)` as a compiled function of the rest.

    A denoiser that is a pytree of arrays is an argument of the program, which serves others of its make too; one that
    is a function is closed over.
    """
    if all(isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in jax.tree.leaves(denoiser)):
        return functools.partial(jax.jit(function), denoiser)
    return jax.jit(functools.partial(function, denoiser))


def states_and_estimates(
    network: Denoiser, zs: Float[Array, "m *shape"], sigmas: Float[Array, " levels"]
) -> tuple[Float[Array, "m positive *shape"], Float[Array, "m positive *shape"]]:
    """A network's own states at the positive levels of a grid, where the sampler will ask, and its estimates there.

    Args:
        network: any denoiser.
        zs: noises that its trajectories start from.
        sigmas: noise grid.
    """
    states = generation.trajectories(network, zs, sigmas)[:, :-1]
    return states, compiled(_estimates, network)(states, sigmas[:-1].astype(zs.dtype))


def _estimates(network, states, levels):
    return jax.vmap(jax.vmap(network), (0, None))(states, levels)
