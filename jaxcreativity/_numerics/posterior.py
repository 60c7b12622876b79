"""The posterior mean over weighted points: what every denoiser of finitely many atoms computes."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import batching, streaming


def posterior_mean(
    y: Float[Array, " d"],
    points: Float[Array, "n d"],
    sigma: Float[ArrayLike, ""] | int,
    *,
    values: Float[Array, "n *value"] | None = None,
    log_weights: Float[Array, " n"] | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*value"]:
    """`sum_i w_i v_i` with `w = softmax_i(log pi_i - |y - x_i|^2 / (2 sigma^2))`.

    Distances are compared with that of a point a near y: `|y - b|^2 - |y - a|^2 = 2 (a - b).(y - (a + b) / 2)` is exact
    where the two are nearly equal, which float32 needs at small `sigma`. At `sigma = 0` the mean is that of the nearest
    points. Batches, by `jax.vmap`, are worked off in groups of some hundred examples.

    Args:
        y: where the posterior is taken, in the coordinates in which points are compared.
        points: x_i.
        sigma: noise level.
        values: v_i, of which the mean is taken; the points themselves by default.
        log_weights: log pi_i up to a common constant; equal by default.
        chunk_size: points compared at once; need not divide n. By default few enough to stay in the cache.

    Raises:
        ValueError: if `chunk_size` is below 1.
    """
    n, width = points.shape[0], max(points.shape[1], 1 if values is None else values[0].size)
    # Chunks this small stay in a core's cache with a batch of a few examples, and a batch of hundreds in memory.
    if chunk_size is None:
        chunk_size = streaming.default_chunk_size(width, on_cpu=2**17)
    chunk_size = min(n, _checks.positive_int("chunk_size", chunk_size))
    in_groups = functools.partial(
        batching.in_groups, group_size=streaming.default_group_size(max(n, chunk_size * width))
    )
    # Where a gradient would compute it again, it is given the index.
    near = in_groups(_near, _near)(*jax.lax.stop_gradient((y, points)))
    mean = functools.partial(_posterior_mean, chunk_size=chunk_size)
    return in_groups(mean, mean)(y, points, near, jnp.asarray(sigma, y.dtype), values, log_weights)


def _near(y, points):
    """Index of a point near y. Expanded squares are precise enough to find one."""
    return jnp.argmin(jnp.einsum("nd,nd->n", points, points) - 2 * jnp.matmul(points, y))


def _posterior_mean(y, points, near, sigma, values, log_weights, *, chunk_size):
    values = points if values is None else values
    temperature = 2 * jnp.square(sigma)
    near = points[near][None]

    def chunk_terms(indices):
        chosen = (lambda array: array) if chunk_size == len(points) else (lambda array: array[indices])
        chunk = chosen(points)
        energies = 2 * jnp.sum((near - chunk) * (y[None] - 0.5 * (near + chunk)), axis=1)
        if log_weights is not None:
            energies = energies - temperature * chosen(log_weights)
        return energies, chosen(values)

    return streaming.streaming_mean(chunk_terms, len(points), chunk_size, temperature)
