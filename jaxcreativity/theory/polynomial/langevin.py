"""What annealed Langevin dynamics with a polynomial score would end at: an exponential family.

See docs/theory/polynomial.md.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Scalar
from jaxcreativity.theory.polynomial import _expansion
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_separable


def langevin_density(
    denoiser: PolynomialDenoiser, x: Float[ArrayLike, "n *coords"], sigma: Scalar
) -> tuple[Float[Array, "n *coords"], Bool[Array, "*coords"]]:
    """The law that Langevin dynamics with this score ends at: `exp(int (D - y) / sigma^2 dy)`, normalised.

    A polynomial energy of degree p + 1: an exponential family, normalisable only for odd p and a negative leading
    coefficient (coefficients of rounding size do not count).

    Args:
        denoiser: separable; each coordinate has its own law.
        x: points, in the denoiser's coordinates (entries, or principal coordinates).
        sigma: noise level at which annealing ends, at least 1e-3 standard deviations (else the quadrature of the
            normalisation is too coarse).

    Returns:
        `(density, normalisable)`; the density is 0 everywhere where no such law exists.

    Raises:
        ValueError: for a denoiser that is not separable or `sigma <= 0`.
    """
    check_separable(denoiser, "langevin_density")
    if _checks.is_concrete(sigma) and not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    x = jnp.asarray(x)
    projection = denoiser.at(sigma)
    sigma = jnp.asarray(sigma, projection.scale.dtype)
    coefficients = projection.scale[..., None] * _expansion.monomials(projection)
    coefficients = coefficients.at[..., 1].add(-projection.noisy_scale)
    degrees = jnp.arange(denoiser.degree + 1)
    # The score times dy, in powers of w: coefficient k of the integrand is k + 1 of the negative energy.
    energy = coefficients * (projection.noisy_scale / sigma**2)[..., None] / (degrees + 1)
    size = jnp.abs(energy).max(axis=-1, keepdims=True)
    counts = jnp.abs(energy) > 1e4 * jnp.finfo(x.dtype).eps * size
    leading = jnp.argmax(jnp.where(counts, degrees, -1), axis=-1)
    sign = jnp.take_along_axis(energy, leading[..., None], axis=-1)[..., 0]
    normalisable = (leading % 2 == 1) & (sign < 0)
    energy = jnp.where(counts, energy, 0.0)

    def log_weight(energy, w):
        return w * jnp.polyval(energy[::-1], w)

    # w = sinh(u) resolves the bulk and reaches the tails; the trapezoidal rule converges geometrically.
    u = jnp.linspace(-6.0, 6.0, 2**16 + 1, dtype=x.dtype)

    def one(energy, normalisable, scale, w):
        logs = log_weight(jnp.where(normalisable, energy, 0.0), jnp.sinh(u)) + jnp.log(jnp.cosh(u) * (u[1] - u[0]))
        log_density = log_weight(energy, w) - jax.scipy.special.logsumexp(logs) - jnp.log(scale)
        return jnp.where(normalisable, jnp.exp(jnp.where(normalisable, log_density, 0.0)), 0.0)

    w = (x - projection.mean[None]) / projection.noisy_scale[None]
    flat = energy.reshape(-1, denoiser.degree + 1), normalisable.ravel(), projection.noisy_scale.ravel()
    values = jax.lax.map(lambda inputs: one(*inputs), (*flat, w.reshape(x.shape[0], -1).T))
    return values.T.reshape(x.shape), normalisable
