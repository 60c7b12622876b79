"""Lengths of soft windows, fitted to a network by gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, trajectory
from jaxcreativity.denoiser import Denoiser
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
    **options,
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
        ValueError: for a bad grid, `start <= 0`, or what `SoftWindowDenoiser` rejects.
    """
    grid = _checks.noise_grid(sigmas)
    zs = _checks.examples("zs", zs, ndim=4)
    if not start > 0:
        raise ValueError(f"start must be positive, a length in pixels, got {start}")
    _checks.positive_int("num_steps", num_steps)
    levels = grid[:-1].astype(zs.dtype)
    states = jax.jit(jax.vmap(trajectory, (None, 0, None)))(network, zs, grid)[:, :-1]
    outputs = jax.jit(jax.vmap(jax.vmap(network), (0, None)))(states, levels)
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
        log_length, value = fit_level(log_length, denoiser, states[:, i], outputs[:, i], levels[i])
        fitted.append((log_length, value))
    log_lengths, losses = (jnp.stack(column[::-1]) for column in zip(*fitted, strict=True))
    return SoftWindowDenoiser(data, log_lengths, levels, **options), losses
