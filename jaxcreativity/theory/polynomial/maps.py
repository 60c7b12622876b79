"""The many-step flows of degrees 2 and 3 as maps of the seed.

p = 2 is a Riccati equation, p = 3 without even terms a Bernoulli equation (Ince, *Ordinary Differential Equations*
(1927), sections 2.13 and 2.15; docs/theory/polynomial.md).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Scalar
from jaxcreativity.theory.polynomial import separable
from jaxcreativity.theory.polynomial._flow import check_range, drift_over, integrate


def moebius_map(
    moments: Float[ArrayLike, " orders"] | Sequence[float], sigma_max: Scalar, sigma_min: Scalar
) -> Float[Array, "2 2"]:
    """The flow of the best quadratic denoiser, a Moebius map: `x = (A y + B) / (C y + D)` of `y = sigma_max z`.

    With `dw/dt = a_0 + a_1 w + a_2 w^2` and `w = U / V`,

        d/dt [U; V] = [[a_1 / 2, a_0], [-a_2, -a_1 / 2]] [U; V].

    Seeds beyond the pole `z* = -D / (C sigma_max)` (on the side away from 0) blow up on the way.

    Args:
        moments: `E[x^k]`, k = 0 ... 4 at least.
        sigma_max: where the flow starts.
        sigma_min: where it stops, positive.

    Returns:
        `[[A, B], [C, D]]` with determinant 1 and D > 0.

    Raises:
        ValueError: as `from_moments`, or if not `0 < sigma_min < sigma_max`.
    """
    check_range(sigma_max, sigma_min)
    target = separable.from_moments(jnp.asarray(moments, jnp.result_type(float)), 2).target
    drift, length = drift_over(target, sigma_max, sigma_min)

    def field(s, matrix, _):
        a_0, a_1, a_2 = drift(s)
        generator = jnp.stack([jnp.stack([a_1 / 2, a_0]), jnp.stack([-a_2, -a_1 / 2])])
        return jnp.matmul(generator, matrix, precision="highest")

    matrix, _ = integrate(field, length, jnp.zeros_like(length), jnp.eye(2, dtype=target.scale.dtype))
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    to_w = jnp.stack([jnp.stack([jnp.ones_like(wide), -target.mean]), jnp.stack([jnp.zeros_like(wide), wide])])
    to_x = jnp.stack([jnp.stack([narrow, target.mean]), jnp.stack([jnp.zeros_like(wide), jnp.ones_like(wide)])])
    matrix = jnp.linalg.multi_dot([to_x, matrix, to_w], precision="highest")
    matrix = matrix / jnp.sqrt(wide * narrow)
    return matrix * jnp.where(matrix[1, 1] < 0, -1.0, 1.0)


def bernoulli_map(
    moments: Float[ArrayLike, " orders"] | Sequence[float], sigma_max: Scalar, sigma_min: Scalar
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The flow of the best cubic denoiser of a symmetric target: `x = alpha z / sqrt(1 + beta z^2)`.

    With `dw/dt = a_1 w + a_3 w^3`, `A(t) = int a_1` from the start and `S = sqrt(s^2 + sigma^2)`,

        alpha = sigma_max S_min / S_max e^A,    beta = -2 (sigma_max / S_max)^2 int a_3 e^(2 A) dt.

    beta > 0: bounded support `|x| < alpha / sqrt(beta)`. beta < 0: blow-up beyond `|z| = 1 / sqrt(-beta)`.

    Args:
        moments: `E[x^k]`, k = 0 ... 6 at least, the odd ones 0.
        sigma_max: where the flow starts.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: as `from_moments`, if an odd moment is not 0, or if not `0 < sigma_min < sigma_max`.
    """
    check_range(sigma_max, sigma_min)
    moments = jnp.asarray(moments, jnp.result_type(float))
    target = separable.from_moments(moments, 3).target
    if _checks.is_concrete(moments):
        odd = np.abs(np.asarray(moments)[1:6:2]) / float(target.scale) ** np.array([1, 3, 5])
        if odd.max() > 1e3 * jnp.finfo(moments.dtype).eps * max(1.0, float(moments[6]) / float(target.scale) ** 6):
            raise ValueError(f"bernoulli_map needs a target symmetric about 0, got odd moments {moments[1:6:2]}")
    drift, length = drift_over(target, sigma_max, sigma_min)

    def field(s, state, _):
        _, a_1, _, a_3 = drift(s)
        return jnp.stack([a_1, a_3 * jnp.exp(2 * state[0])])

    (total, integral), _ = integrate(field, length, jnp.zeros_like(length), jnp.zeros(2, target.scale.dtype))
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    return sigma_max * narrow / wide * jnp.exp(total), -2 * (sigma_max / wide) ** 2 * integral
