"""Recurrence coefficients from raw moments, by the modified Chebyshev algorithm (Gautschi 2004, section 2.1.7).

The modified moments are the Hermite moments `E[He_k(u)]` of the standardised law. These lose digits (8 of 16 at p = 7
on the uniform law); one Newton step on the moments themselves brings them back.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.theory.polynomial._recurrence import Recurrence


def from_moments(moments: Float[Array, " orders"], degree: int) -> Recurrence:
    """Recurrence coefficients of the law with these raw moments.

    Raises:
        ValueError: for a degree below 1, too few moments, or moments that no distribution has: says which one is the
            first that cannot be.
    """
    _checks.positive_int("degree", degree)
    orders = 2 * degree + 1
    if moments.ndim != 1 or moments.shape[0] < orders:
        raise ValueError(
            f"moments must hold E[x^k] for k = 0 ... {orders - 1} to fit degree {degree}, got shape {moments.shape}"
        )
    moments = moments[:orders]
    concrete = _checks.is_concrete(moments)
    if concrete and not bool(jnp.isfinite(moments).all()):
        raise ValueError(f"moments must be finite, got {np.asarray(moments)}")
    eps = jnp.finfo(moments.dtype).eps
    if concrete and abs(float(moments[0]) - 1) > 100 * eps:
        raise ValueError(f"moments[0] is the total probability and must be 1, got {float(moments[0])}")
    target, variance, rows, limits = _modified_chebyshev(moments, degree)
    if concrete:
        _check_is_distribution(degree, float(variance), rows, limits)
    return target


def _standardised_moments(moments, mean, scale):
    """`E[u^k]` of `u = (x - mean) / scale` from raw moments."""
    power = np.arange(moments.shape[0])
    lag = np.maximum(power[:, None] - power[None, :], 0)
    choose = np.array([[math.comb(k, j) for j in power] for k in power], float)
    return dot(jnp.asarray(choose, moments.dtype) * (-mean) ** lag, moments) / scale**power


def _hermite_moments(moments):
    """`E[He_k(u)]` from `E[u^k]`."""
    orders = moments.shape[0]
    powers_of = np.zeros((orders, orders))  # row k: He_k in powers of u
    for k, unit in enumerate(np.eye(orders)):
        powers_of[k, : k + 1] = np.polynomial.hermite_e.herme2poly(unit)
    return dot(jnp.asarray(powers_of, moments.dtype), moments)


def _moments(alpha, beta):
    """`E[u^k] = <e_0, J^k e_0>`, k = 1 ... 2p, of the law of a recurrence."""
    p = alpha.shape[0]
    J = jnp.diag(jnp.append(alpha, 0.0)) + jnp.diag(beta, 1) + jnp.diag(beta, -1)
    powers = [jnp.zeros(p + 1, alpha.dtype).at[0].set(1)]
    for _ in range(p):
        powers.append(dot(J, powers[-1]))
    return jnp.stack([dot(powers[k // 2], powers[k - k // 2]) for k in range(1, 2 * p + 1)])


def _refine(alpha, beta, alive, moments):
    """One Newton step towards the recurrence that has these standardised moments, where it comes nearer to them.

    Not for a law of few atoms (`alive` is false), whose later coefficients no moment depends on.
    """
    p = alpha.shape[0]
    residual = lambda both: moments[1:] - _moments(both[:p], both[p:])  # noqa: E731
    before = jnp.concatenate([alpha, beta])
    slope = -jax.jacfwd(residual)(before)
    size = jnp.where(alive, jnp.abs(slope).max(axis=1), 1.0)  # moments of high order are large
    slope = jnp.where(alive, slope / size[:, None], jnp.eye(2 * p, dtype=alpha.dtype))
    after = before + jnp.linalg.solve(slope, residual(before) / size)
    distance = lambda both: jnp.abs(residual(both) / size).max()  # noqa: E731
    better = alive & (distance(after) <= distance(before)) & (after[p:] > 0).all()
    return jnp.where(better, after[:p], alpha), jnp.where(better, after[p:], beta)


@partial(jax.jit, static_argnames="degree")
def _modified_chebyshev(moments, degree):
    """Recurrence of the standardised law, and what is needed to check that there is such a law.

    The rows are `E[pi_k He_l]`, `pi_k` the monic orthogonal polynomials; `E[pi_k He_k]` is the squared norm of `pi_k`,
    a ratio of Hankel determinants.
    """
    dtype = moments.dtype
    eps = float(jnp.finfo(dtype).eps)
    mean = moments[1]
    variance = moments[2] - mean**2
    rounding = 10 * eps * (mean**2 + jnp.abs(moments[2]))
    alive = variance > rounding
    scale = jnp.sqrt(jnp.where(alive, variance, 1.0))
    standardised = _standardised_moments(moments, mean, scale)
    hermite_moments = _hermite_moments(standardised)
    index = jnp.arange(moments.shape[0], dtype=dtype)
    row_before, row = jnp.zeros_like(hermite_moments), hermite_moments
    alphas, betas, rows, limits = [], [], [], []
    ratio_before, beta2 = jnp.zeros((), dtype), jnp.zeros((), dtype)
    for k in range(degree):
        norm2 = jnp.where(alive, row[k], 1.0)
        ratio = row[k + 1] / norm2
        alpha = jnp.where(alive, ratio - ratio_before, 0.0)
        up = jnp.append(row[1:], 0.0)
        down = jnp.append(jnp.zeros((1,), dtype), row[:-1])
        row_next = up - alpha * row - beta2 * row_before + index * down
        # pi_{k+1} vanishes on a law of k + 1 atoms; what is left then is rounding of terms of this size.
        limit = 100 * eps * jnp.maximum(jnp.abs(hermite_moments[: 2 * k + 3]).max(), math.factorial(k + 1))
        alive = alive & (row_next[k + 1] > limit)
        beta2 = jnp.where(alive, row_next[k + 1] / norm2, 0.0)
        alphas.append(alpha)
        betas.append(jnp.where(alive, jnp.sqrt(jnp.where(alive, beta2, 1.0)), 0.0))
        rows.append(row_next)
        limits.append(limit)
        row_before, row, ratio_before = row, row_next, ratio
    target = Recurrence(mean, scale, *_refine(jnp.stack(alphas), jnp.stack(betas), alive, standardised))
    return target, variance / jnp.where(rounding > 0, rounding, 1.0), jnp.stack(rows), jnp.stack(limits)


def _check_is_distribution(degree, variance, rows, limits):
    """Raise for the first moment that cannot be; `variance` is in units of its rounding error."""
    if variance < -1:
        raise ValueError("no distribution has these moments: moments[2] is below moments[1]^2")
    if variance <= 1:
        return  # one atom: the higher moments carry no information that any denoiser could use
    for k, (row, limit) in enumerate(zip(np.asarray(rows), np.asarray(limits), strict=True), start=1):
        if row[k] < -limit:
            raise ValueError(
                f"no distribution has these moments: the Hankel matrix of moments[0 ... {2 * k}] is not positive "
                f"(moments[{2 * k}] is too small for those before it; last pivot, standardised: {row[k]:.3g})"
            )
        if row[k] <= limit:
            beyond = np.abs(row[k : 2 * degree + 1 - k])
            if beyond.max() > 1e4 * limit:
                raise ValueError(
                    f"no distribution has these moments: those up to moments[{2 * k}] belong to {k} atoms (the Hankel "
                    f"matrix is singular), but moments[{2 * k + int(beyond.argmax())}] is not that of these atoms"
                )
            return
