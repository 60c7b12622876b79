"""Lengths of soft windows, fitted to a network by gradient."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory.patches._network import states_and_estimates
from jaxcreativity.theory.patches.soft_window import SoftWindowDenoiser


def fit_lengths(
    network: Denoiser,
    data: Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    zs: Float[ArrayLike, "m height width channels"],
    *,
    start: float = 1.5,
    num_steps: int = 30,
    learning_rate: float = 0.15,
    **options: Any,
) -> tuple[SoftWindowDenoiser, Float[Array, " positive_levels"]]:
    """Fit l(sigma) to a network's outputs on its own trajectories, by Adam on log(l): no grid search.

    At every level the loss is `mean |D_l(y, sigma) - network(y, sigma)|^2` over the network's states y there, which are
    what the sampler will see. Levels are fitted from low noise to high, each from the length before.

    Args:
        network: any denoiser.
        data: training images.
        sigmas: noise grid.
        zs: noises that the trajectories start from.
        start: length that the fit starts from at the lowest level, in pixels.
        num_steps: optimiser steps per level.
        learning_rate: of Adam, i.e. about the largest change of log(l) in one step.
        **options: those of `SoftWindowDenoiser`.

    Returns:
        The fitted denoiser, and the loss at every positive level.

    Raises:
        ValueError: for a bad grid, bad noises, `start <= 0`, `num_steps < 1`, or what `SoftWindowDenoiser` rejects.

    Example:
        The length of a denoiser in place of a network is found again:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (8, 6, 6, 1))
        >>> z = jax.random.normal(jax.random.key(1), (4, 6, 6, 1))
        >>> sigmas = jnp.array([0.5, 0.0])
        >>> network = jc.theory.patches.SoftWindowDenoiser(x, jnp.log(jnp.array([0.8])), sigmas[:1], False)
        >>> fitted, loss = jc.theory.patches.fit_lengths(network, x, sigmas, z, equivariant=False)
        >>> print(f"{fitted.length(0.5):.1f}")
        0.8
    """
    import optax  # half a second to load, for this function only

    grid = _checks.noise_grid(sigmas)
    zs = _checks.examples("zs", zs, ndim=4)
    if not start > 0:
        raise ValueError(f"start must be positive, a length in pixels, got {start}")
    _checks.positive_int("num_steps", num_steps)
    levels = grid[:-1].astype(zs.dtype)
    states, estimates = states_and_estimates(network, zs, grid)
    optimizer = optax.adam(learning_rate)
    denoiser = SoftWindowDenoiser(data, jnp.log(jnp.full(1, start, zs.dtype)), jnp.ones(1, zs.dtype), **options)

    @jax.jit
    def fit_level(log_length, denoiser, ys, targets, sigma):
        def loss(log_length):
            at_level = dataclasses.replace(denoiser, log_lengths=log_length[None])
            one = lambda pair: jnp.mean(jnp.square(at_level(pair[0], sigma) - pair[1]))  # noqa: E731
            return jnp.mean(jax.lax.map(one, (ys, targets)))

        def step(carry, _):
            log_length, state = carry
            value, gradient = jax.value_and_grad(loss)(log_length)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(log_length, updates), state), (value, log_length)

        _, (values, tried) = jax.lax.scan(step, (log_length, optimizer.init(log_length)), length=num_steps)
        best = jnp.argmin(values)
        return tried[best], values[best]

    log_length, fitted = denoiser.log_lengths[0], []
    for i in reversed(range(len(levels))):
        log_length, value = fit_level(log_length, denoiser, states[:, i], estimates[:, i], levels[i])
        fitted.append((log_length, value))
    log_lengths, losses = (jnp.stack(column[::-1]) for column in zip(*fitted, strict=True))
    return SoftWindowDenoiser(data, log_lengths, levels, **options), losses
