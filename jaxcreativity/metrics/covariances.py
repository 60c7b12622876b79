"""Covariances compared: of samples with the one that a theory predicts, and what chance makes of it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks
from jaxcreativity.distributions import gaussian


def covariance_error(estimate: Shaped[ArrayLike, "n ..."], covariance: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    """Relative Frobenius error of a covariance, `|C_est - C|_F / |C|_F`.

    The covariance of finitely many samples is off even if their law is right: compare with `sampling_error`.

    Args:
        estimate: samples `(n, *shape)`, whose covariance (flattened, divided by n) is taken, or a covariance
            `(d, d)`. A square matrix is read as a covariance.
        covariance: the covariance to compare with, `(d, d)`, `d` the number of entries of one sample.

    Raises:
        ValueError: if the shapes do not fit, entries are integer, NaN or infinite, `covariance` is zero or
            not symmetric, or a square `estimate` is not symmetric (`d` flat samples: pass their covariance,
            `distributions.gaussian.fit(samples).covariance`).
    """
    covariance = _covariance("covariance", covariance, "pass a symmetric (d, d)")
    estimate = _checks.examples("estimate", estimate)
    if estimate.shape == covariance.shape:
        advice = "for d flat samples, pass distributions.gaussian.fit(samples).covariance"
        estimate = _covariance("estimate", estimate, advice)
    else:
        size = estimate[0].size
        if size != covariance.shape[0]:
            raise ValueError(
                f"estimate must be samples with {covariance.shape[0]} entries each or a covariance "
                f"{covariance.shape}, got {estimate.shape}"
            )
        estimate = gaussian.fit(estimate).covariance
    return jnp.linalg.norm(estimate - covariance) / _positive_norm(covariance)


def sampling_error(covariance: Shaped[ArrayLike, "..."], n: int) -> Float[Array, ""]:
    """Root-mean-square `covariance_error` of `n` samples from a Gaussian that has exactly this covariance:

        sqrt((n |C|_F^2 + (n - 1) (tr C)^2) / n^2) / |C|_F,

    the error of a Wishart matrix with n - 1 degrees of freedom, divided by n. A `covariance_error` of this
    size is no evidence of a wrong covariance.

    Source: Anderson, *An Introduction to Multivariate Statistical Analysis* (2003), section 7.

    Args:
        covariance: `(d, d)`.
        n: number of samples.

    Raises:
        ValueError: if `covariance` is not a symmetric, finite, floating-point matrix or is zero, or `n < 1`.
    """
    covariance = _covariance("covariance", covariance, "pass a symmetric (d, d)")
    n = _checks.positive_int("n", n)
    spread = jnp.trace(covariance) / _positive_norm(covariance)  # squared: the effective number of dimensions
    return jnp.sqrt((n + (n - 1) * jnp.square(spread)) / n**2)


def _positive_norm(covariance):
    size = jnp.linalg.norm(covariance)
    if _checks.is_concrete(size) and not size > 0:
        raise ValueError("covariance is zero, so a relative error is not defined; compare absolute values")
    return size


def _covariance(name, matrix, advice):
    matrix = _checks.examples(name, matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must have shape (d, d), got {matrix.shape}; flatten images first")
    values = _checks.known(matrix)
    if values is not None:
        asymmetry = np.abs(values - values.T).max()
        if asymmetry > 1e-3 * np.abs(values).max():
            raise ValueError(f"{name} is not symmetric (entries differ by up to {asymmetry:.3g}); {advice}")
    return matrix
