"""Covariances compared: of samples with the one that a theory predicts, and what chance makes of it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks
from jaxcreativity.distributions import Gaussian, gaussian


def covariance_error(
    estimate: Shaped[ArrayLike, "n ..."] | Gaussian, covariance: Shaped[ArrayLike, "..."]
) -> Float[Array, ""]:
    """Relative Frobenius error of a covariance, `|C_est - C|_F / |C|_F`.

    The covariance of finitely many samples is off even if their law is right: compare with `sampling_error`.

    Args:
        estimate: samples `(n, *shape)`, whose covariance (flattened, divided by n) is taken, or a law, whose
            covariance is taken. An array is always samples, of whatever shape: a covariance `c` that is known already
            is passed as a law, `distributions.Gaussian(mean, c)`.
        covariance: the covariance to compare with, `(d, d)`, `d` the number of entries of one sample.

    Raises:
        ValueError: if the shapes do not fit, entries are integer, NaN or infinite, `covariance` is zero, or it or that
            of the law is not symmetric.

    Example:
        >>> import jax.numpy as jnp
        >>> samples = jnp.asarray([[1.0, 0.0], [-1.0, 0.0]])  # their covariance is diag(1, 0)
        >>> float(covariance_error(samples, jnp.diag(jnp.asarray([2.0, 0.0]))))
        0.5
    """
    covariance = _covariance("covariance", covariance)
    name = "covariance of estimate" if isinstance(estimate, Gaussian) else "estimate"
    if not isinstance(estimate, Gaussian):
        estimate = gaussian.fit(_checks.examples(name, estimate))
    estimate = _covariance(name, estimate.covariance)
    if estimate.shape != covariance.shape:
        size = covariance.shape[0]
        raise ValueError(
            f"estimate must have {size} entries per sample, as covariance {covariance.shape} has, got {len(estimate)}"
        )
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
    covariance = _covariance("covariance", covariance)
    n = _checks.positive_int("n", n)
    spread = jnp.trace(covariance) / _positive_norm(covariance)  # squared: the effective number of dimensions
    return jnp.sqrt((n + (n - 1) * jnp.square(spread)) / n**2)


def _positive_norm(covariance):
    size = jnp.linalg.norm(covariance)
    if _checks.is_concrete(size) and not size > 0:
        raise ValueError("covariance is zero, so a relative error is not defined; compare absolute values")
    return size


def _covariance(name, matrix):
    matrix = _checks.examples(name, matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must have shape (d, d), got {matrix.shape}; flatten images first")
    values = _checks.known(matrix)
    if values is not None:
        asymmetry = np.abs(values - values.T).max()
        if asymmetry > 1e-3 * np.abs(values).max():
            raise ValueError(
                f"{name} is not symmetric (entries differ by up to {asymmetry:.3g}); pass a symmetric (d, d)"
            )
    return matrix
