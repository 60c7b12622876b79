"""The denoising loss of any denoiser, trained or not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.training.objective import squared_error


def denoising_loss(
    denoiser: Denoiser,
    x: Float[Array, "n *shape"],
    sigmas: Float[Array, " levels"],
    key: PRNGKeyArray,
    num_draws: int = 1,
    batch_size: int = 256,
) -> Float[Array, " positive_levels"]:
    """Monte-Carlo estimate of `E |D(x + sigma noise, sigma) - x|^2` per entry, at every positive level of a grid.

    The squared error is that of `Objective`, which takes it of a network's output, weighted by what that predicts, and
    averages the levels; here it is of the denoised example, level by level, so that all denoisers compare.

    Args:
        denoiser: callable on one example. A pytree of arrays is compiled once for all of its kind.
        x: examples to average over, each used `num_draws` times.
        sigmas: noise grid (the final 0 is left out).
        key: random key; the same key gives every denoiser the same noise.
        num_draws: noises per example.
        batch_size: examples evaluated at once.

    Raises:
        ValueError: for bad examples or grid, and for counts below 1.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jnp.array([[-1.0], [1.0]])
        >>> theory = jc.theory.empirical.EmpiricalDenoiser(x)
        >>> loss = jc.training.denoising_loss(theory, x, jnp.array([10.0, 0.1, 0.0]), jax.random.key(0), num_draws=100)
        >>> [round(float(value), 1) for value in loss]  # all of the variance of x is lost, or nothing
        [1.0, 0.0]
    """
    x, sigmas = _checks.examples("x", x), _checks.noise_grid(sigmas)
    for name, count in (("num_draws", num_draws), ("batch_size", batch_size)):
        _checks.positive_int(name, count)
    arrays = all(isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in jax.tree.leaves(denoiser))
    estimate = _compiled_estimate if arrays else _estimate
    return estimate(denoiser, x, sigmas, key, num_draws, batch_size)


def _estimate(denoiser, x, sigmas, key, num_draws, batch_size):
    def one(inputs):
        x, key = inputs
        noise = jax.random.normal(key, (num_draws, *x.shape), x.dtype)
        error = lambda noise, sigma: squared_error(denoiser, x, noise, sigma)  # noqa: E731
        return jax.vmap(lambda s: jnp.mean(jax.vmap(error, (0, None))(noise, s)))(sigmas[:-1].astype(x.dtype))

    return jnp.mean(jax.lax.map(one, (x, jax.random.split(key, x.shape[0])), batch_size=batch_size), axis=0)


_compiled_estimate = partial(jax.jit, static_argnames=("num_draws", "batch_size"))(_estimate)
