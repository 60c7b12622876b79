"""Numbers of the law that a finite noise grid generates: its moments, and the share of seeds that diverge."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.theory.polynomial._bisection import change_point
from jaxcreativity.theory.polynomial._branches import CELLS
from jaxcreativity.theory.polynomial._chain import over_coordinates
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_separable


def generated_moments(
    denoiser: PolynomialDenoiser,
    sigmas: Float[ArrayLike, " levels"],
    order: int,
    *,
    z_max: float = 6.0,
) -> Float[Array, "orders *coords"]:
    """Moments 0 ... `order` of each generated coordinate, `E[Phi(z)^k | |z| <= z_max]`, by Gauss-Legendre panels.

    The restriction leaves out 2e-9 of the probability at the default, which no practical sample sees. Without it the
    moments of a polynomial of degree p^N are decided by seeds that never occur. They are infinite (or of rounding) if
    trajectories from within `z_max` diverge.

    Args:
        denoiser: separable.
        sigmas: noise grid.
        order: largest power, at least 1.
        z_max: seeds beyond it are left out.

    Raises:
        ValueError: for a bad grid, a denoiser that is not separable or `order < 1`.
    """
    check_separable(denoiser, "generated_moments")
    _checks.positive_int("order", order)
    return _compiled_moments(denoiser, _checks.noise_grid(sigmas), order, z_max)


@partial(jax.jit, static_argnames="order")
def _compiled_moments(denoiser, sigmas, order, z_max):
    nodes, weights = np.polynomial.legendre.leggauss(16)
    panels = 128
    z = jnp.asarray(2 * np.arange(panels)[:, None] + 1 + nodes[None, :] - panels) * (z_max / panels)
    z = z.ravel().astype(sigmas.dtype)
    weights = jnp.tile(jnp.asarray(weights, sigmas.dtype), panels) * norm.pdf(z)
    weights = weights / weights.sum()

    def moments(chain):
        values = chain(z)
        powers = values[None, :] ** jnp.arange(order + 1)[:, None]
        # A power of infinity is infinite; its weight must not turn it into NaN.
        total = jnp.sum(powers * weights[None, :], axis=1)
        return jnp.where(jnp.isnan(total), jnp.inf, total)

    values = over_coordinates(denoiser, sigmas, lambda chain, _: moments(chain), None)
    return jnp.moveaxis(values.reshape(*denoiser.target.mean.shape, order + 1), -1, 0)


def diverging_probability(
    denoiser: PolynomialDenoiser, sigmas: Float[ArrayLike, " levels"], *, z_max: float = 10.0
) -> Float[Array, "*coords"]:
    """Probability that the sampler on this grid returns an infinite coordinate (`sampling.diverged`), exact.

    The many-step counterpart is `blow_up_probability`.

    Args:
        denoiser: separable.
        sigmas: noise grid.
        z_max: seeds beyond it are told by those at it.

    Raises:
        ValueError: for a bad grid or a denoiser that is not separable.
    """
    check_separable(denoiser, "diverging_probability")
    return _compiled_diverging(denoiser, _checks.noise_grid(sigmas), z_max)


@jax.jit
def _compiled_diverging(denoiser, sigmas, z_max):
    edges = jnp.linspace(-z_max, z_max, CELLS + 1, dtype=sigmas.dtype)

    def probability(chain, _):
        finite = jnp.isfinite(chain(edges))
        low, high = edges[:-1], edges[1:]
        still = lambda z, was: jnp.isfinite(chain(z, frozen=True)) == was  # noqa: E731
        cut = change_point(still, low, high, finite[:-1], steps=40)
        left, right = norm.cdf(cut) - norm.cdf(low), norm.cdf(high) - norm.cdf(cut)
        whole = norm.cdf(high) - norm.cdf(low)
        split = jnp.where(finite[:-1], right, left)
        lost = jnp.where(finite[:-1] == finite[1:], jnp.where(finite[:-1], 0.0, whole), split)
        outside = norm.cdf(-z_max) * ((~finite[0]) + (~finite[-1]))
        return lost.sum() + outside

    return over_coordinates(denoiser, sigmas, probability, None).reshape(denoiser.target.mean.shape)
