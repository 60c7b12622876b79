"""Posterior means of laws on the line whose density is a straight line or a kink on a log scale.

Under Gaussian noise the posterior of each is made of truncated Gaussians. The closed form of their means in terms of
`erf` subtracts nearly equal numbers when the noise is much wider or much narrower than the target, and float32 loses
the result. Here the same integrals are summed from positive terms (`half_line`), to rounding, at any noise level.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_ENERGY_CUT = 40.0  # exp(-40) is below float64's rounding
_NODES, _WEIGHTS = ((a + b) / 2 for a, b in zip(np.polynomial.legendre.leggauss(48), (1.0, 0.0), strict=True))


def half_line(sigma: Float[Array, ""], slope: Any, extent: Any) -> tuple[Array, Array, Array]:
    """`(length, mass, first)` of `exp(-slope v - v**2 / (2 sigma**2))` over `0 <= v <= extent`, `slope >= 0`.

    The integral is `length * mass`, that of `v` times it `length**2 * first`. `length` is `extent`, or the `v` at which
    the exponent reaches 40 if that is nearer. On it the integrand is entire and spans 40 nats at most, which 48
    Gauss-Legendre nodes integrate to rounding in float64.

    Args:
        sigma: noise level.
        slope: how fast the density falls at 0, at least 0.
        extent: how far it reaches; may be infinite.
    """
    dtype = sigma.dtype
    nodes, weights = jnp.asarray(_NODES, dtype), jnp.asarray(_WEIGHTS, dtype)
    steepness = slope * sigma
    reach = 2 * _ENERGY_CUT * sigma / (steepness + jnp.hypot(steepness, jnp.asarray((2 * _ENERGY_CUT) ** 0.5, dtype)))
    length = jnp.minimum(reach, extent)
    v = nodes * (length / sigma)
    terms = weights * jnp.exp(-v * (steepness + 0.5 * v))
    return length, jnp.sum(terms), jnp.sum(terms * nodes)


def positive(sigma: Float[Array, ""]) -> Float[Array, ""]:
    """`sigma`, at least a level whose square, and the inverse of that, are numbers: for the limit at 0."""
    return jnp.maximum(sigma, jnp.finfo(sigma.dtype).tiny ** 0.375)


def mean_of_pieces(pieces: Sequence[tuple]) -> Float[Array, ""]:
    """Mean of a density made of pieces `(start, direction, energy, half_line(...))`, `start + direction * v`.

    Every piece counts with `exp(-energy)`; the first starts at the peak, and offsets are taken from there.
    """
    peak = pieces[0][0]
    # Lengths are divided by the largest: their squares may underflow.
    unit = jnp.max(jnp.stack([length for _, _, _, (length, _, _) in pieces]))
    unit = jnp.where(unit > 0, unit, 1.0)
    total, moment = 0.0, 0.0
    for start, direction, energy, (length, mass, first) in pieces:
        share = jnp.exp(-energy) * length / unit
        total = total + share * mass
        moment = moment + share * ((start - peak) * mass + direction * length * first)
    return peak + moment / jnp.where(total > 0, total, 1.0)
