"""The posterior mean over weighted points: what every denoiser of finitely many atoms computes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity._numerics import streaming


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
    points.

    Args:
        y: where the posterior is taken, in the coordinates in which points are compared.
        points: x_i.
        sigma: noise level.
        values: v_i, of which the mean is taken; the points themselves by default.
        log_weights: log pi_i up to a common constant; equal by default.
        chunk_size: points compared at once (all by default); need not divide n.

    Raises:
        ValueError: if `chunk_size` is below 1.
    """
    values = points if values is None else values
    temperature = 2 * jnp.square(jnp.asarray(sigma, y.dtype))

    # Expanded squares are precise enough to find a near point.
    squares = jnp.sum(jnp.square(points), axis=1) - 2 * jnp.matmul(points, y)
    near = points[jnp.argmin(jax.lax.stop_gradient(squares))][None]

    def chunk_terms(indices):
        chosen = (lambda array: array) if chunk_size is None else (lambda array: array[indices])
        chunk = chosen(points)
        energies = 2 * jnp.sum((near - chunk) * (y[None] - 0.5 * (near + chunk)), axis=1)
        if log_weights is not None:
            energies = energies - temperature * chosen(log_weights)
        return energies, chosen(values)

    n = points.shape[0]
    return streaming.streaming_mean(chunk_terms, n, n if chunk_size is None else chunk_size, temperature)
