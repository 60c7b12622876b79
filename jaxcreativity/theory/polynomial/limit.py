"""The many-step limit of one-dimensional polynomial denoisers: its density.

The flow on a line (`_flow`) is monotone, so its inverse, from the sample back to the seed, is one integration with
t = log sigma increasing and never meets the poles of the forward flow; an `x` that no seed reaches escapes to infinity
on the way and has density 0. Integration: diffrax (Kidger 2021).
"""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity.denoiser import Scalar
from jaxcreativity.theory.polynomial._flow import check_range, columns_of, drift_over, integrate, value_and_slope
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_one_law, to_coordinates


def limit_density(
    denoiser: PolynomialDenoiser, x: Float[ArrayLike, "n *shape"], sigma_max: Scalar, sigma_min: Scalar
) -> Float[Array, " n"]:
    """Density at `x` of what infinitely many deterministic steps from `sigma_max` to `sigma_min` generate.

    Its integral is `1 - blow_up_probability`. Differentiable with respect to `x` and the denoiser.

    Args:
        denoiser: separable, as in `density`; for several coordinates the density is the product.
        x: points `(n, *shape)`; `(n,)` for a denoiser made by `from_moments`.
        sigma_max: where the flow starts, at `sigma_max * z`.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: if not `0 < sigma_min < sigma_max`, for constant coordinates, points of another shape or a denoiser
            that is not separable.
    """
    check_one_law(denoiser, "limit_density")
    check_range(sigma_max, sigma_min)
    x = jnp.asarray(x)
    if x.shape[1:] != denoiser.shape:
        raise ValueError(f"x must have shape (n, *{denoiser.shape}), got {x.shape}")
    return _compiled_limit_density(denoiser, x, sigma_max, sigma_min)


@jax.jit
def _compiled_limit_density(denoiser, x, sigma_max, sigma_min):
    coords = jax.vmap(lambda point: to_coordinates(denoiser, point))(x)
    columns = coords.reshape(x.shape[0], -1).T

    def one(inputs):
        target, shift, column = inputs
        z, log_slope, reached = _seeds(target, shift, column, sigma_max, sigma_min)
        return jnp.where(reached, norm.logpdf(jnp.where(reached, z, 0.0)) + log_slope, -jnp.inf)

    return jnp.exp(jax.lax.map(one, (*columns_of(denoiser), columns)).sum(axis=0))


def _infinity(degree, dtype):
    """What counts as infinite in units of the noisy standard deviation: the rest of the way takes no time."""
    double = jnp.finfo(dtype).bits == 64
    if degree == 1:
        return 1e9 if double else 1e6
    return max(1e4, 1e9 ** (1 / (degree - 1))) if double else max(1e2, 1e4 ** (1 / (degree - 1)))


def _back(drift, length, degree, w):
    """Carry `w` from sigma_min to sigma_max: `(w, log dw/dw_0, escaped)`, held at infinity while it is pushed out."""
    infinity = _infinity(degree, w.dtype)

    def field(s, state, _):
        w, _, _ = state
        coefficients = drift(s)
        inside = jnp.clip(w, -2 * infinity, 2 * infinity)
        velocity, slope = value_and_slope(coefficients, inside)
        held = (jnp.abs(w) >= infinity) & (velocity * w > 0)
        # Too slow to be seen by the step-size control; whether it is exactly 0 is all that matters.
        mark = jnp.where(held, 1e-25, 0.0)
        return jnp.stack([jnp.where(held, 0.0, velocity), jnp.where(held, 0.0, slope), mark])

    start = jnp.stack([w, jnp.zeros_like(w), jnp.zeros_like(w)])
    (w, log_slope, mark), finished = integrate(field, jnp.zeros_like(length), length, start)
    # Steps run out only where the equation is stiff, at an outer zero of the velocity: no seed of any weight.
    return w, log_slope, (mark > 0) | ~finished


def _seeds(target, shift, x, sigma_max, sigma_min):
    """`(z, log dz/dx, reached)` of points of one coordinate."""
    drift, length = drift_over(target, sigma_max, sigma_min)
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    w = (x - target.mean).astype(narrow.dtype) / narrow
    w, log_slope, escaped = jax.vmap(lambda w: _back(drift, length, target.degree, w))(w)
    z = (target.mean + wide * w + shift) / sigma_max
    return z, log_slope + jnp.log(wide / narrow / sigma_max), ~escaped
