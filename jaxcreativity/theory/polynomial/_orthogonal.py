"""Least-squares polynomial denoisers in one dimension, through orthogonal polynomials instead of normal equations.

A law with finite moments has orthonormal polynomials with a three-term recurrence

    x p_n = beta_{n+1} p_{n+1} + alpha_n p_n + beta_n p_{n-1},

that is, multiplication by x is a tridiagonal (Jacobi) matrix J with `e_0` standing for the constant 1. The first p
alphas and betas are equivalent to the moments of order up to 2p, which is all that a denoiser of degree p can see.

For `w = a u + b eps`, u the standardised target, multiplication by w is `a J (x) I + b I (x) J_eps` on a space of
(p + 1)^2 entries, J_eps that of the Gaussian (alpha = 0, beta_n = sqrt n). Lanczos on this matrix from
`e_0 (x) e_0` gives the recurrence of the noisy marginal and, as entries of its vectors q_n, the projections

    E[u h_n(w)] = <J e_0 (x) e_0, q_n>,   so   E[u | w] ~ sum_n E[u h_n] h_n(w).

(With `E[eps h_n] = <e_0 (x) e_1, q_n>` the same is theory section 3's Stein form; no more precise.) No Gram matrix is
formed: its condition number (sigma^-2p for atoms) would be squared. Sources: Gautschi, *Orthogonal Polynomials* (2004),
sections 2.1-2.2; Golub & Meurant (2010), chapter 5.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.denoiser import NoiseLevel


@_pytree.dataclass
class Recurrence:
    """The moments of order 0 ... 2p of one law per coordinate, as recurrence coefficients of `(x - mean) / scale`.

    `scale` is the standard deviation, or 1 where that is 0. `beta[..., k]` is the coefficient between `p_k` and
    `p_{k+1}`; it is 0 from `k = m - 1` on for a law of m atoms, `m <= p`.
    """

    mean: Float[Array, "*coords"]
    scale: Float[Array, "*coords"]
    alpha: Float[Array, "*coords p"]
    beta: Float[Array, "*coords p"]

    @property
    def degree(self) -> int:
        """The degree p that these moments serve."""
        return self.alpha.shape[-1]

    @property
    def constant(self) -> Bool[Array, "*coords"]:
        """Which coordinates have no variance."""
        return self.beta[..., 0] == 0


@_pytree.dataclass
class Expansion:
    """`E[x | y]` projected on polynomials of degree p, for one noise level.

    w = (y - mean) / noisy_scale,   D = mean + scale sum_n coefficients[n] h_n(w),
    h_0 = 1,   h_{n+1} = inverse_beta[n] ((w - alpha[n]) h_n - beta[n - 1] h_{n-1})
    """

    mean: Float[Array, "*coords"]
    scale: Float[Array, "*coords"]
    noisy_scale: Float[Array, "*coords"]
    alpha: Float[Array, "*coords p"]
    beta: Float[Array, "*coords p"]
    inverse_beta: Float[Array, "*coords p"]
    coefficients: Float[Array, "*coords p1"]


def from_moments(moments: Float[Array, " orders"], degree: int) -> Recurrence:
    """Recurrence coefficients from raw moments by the modified Chebyshev algorithm (Gautschi 2004, section 2.1.7).

    The modified moments are the Hermite moments `E[He_k(u)]` of the standardised law. These lose digits (8 of 16 at
    p = 7 on the uniform law); one Newton step on the moments themselves brings them back.

    Raises:
        ValueError: if these are not the moments of a distribution: says which one is the first that cannot be.

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


@partial(jax.jit, static_argnames="degree")
def from_samples(x: Float[Array, "n *coords"], degree: int, floor: float | Float[Array, ""] = 0.0) -> Recurrence:
    """Recurrence coefficients of the empirical law of each coordinate by the discretised Stieltjes procedure.

    The moments are those of the set (divided by n). A coordinate whose standard deviation is at most `floor` (or
    rounding) counts as constant.
    """
    eps = jnp.finfo(x.dtype).eps
    mean = x.mean(axis=0)
    mean = mean + (x - mean[None]).mean(axis=0)  # a second pass removes the rounding of the first
    centred = x - mean[None]
    variance = jnp.square(centred).mean(axis=0)
    varies = variance > jnp.square(jnp.maximum(floor, 10 * eps * jnp.abs(x).max(axis=0)))
    scale = jnp.sqrt(jnp.where(varies, variance, 1.0))
    u = centred / scale[None]
    previous, current = jnp.zeros_like(u), jnp.ones_like(u)
    alphas, betas, beta, alive = [], [], jnp.zeros_like(mean), varies
    for _ in range(degree):
        image = u * current
        alpha = jnp.where(alive, jnp.mean(image * current, axis=0), 0.0)
        residual = image - alpha[None] * current - beta[None] * previous
        norm2, size2 = jnp.mean(jnp.square(residual), axis=0), jnp.mean(jnp.square(image), axis=0)
        alive = alive & (norm2 > jnp.square(100 * eps) * size2)
        beta = jnp.where(alive, jnp.sqrt(jnp.where(alive, norm2, 1.0)), 0.0)
        previous = current
        current = jnp.where(alive[None], residual / jnp.where(alive, beta, 1.0)[None], 0.0)
        alphas.append(alpha)
        betas.append(beta)
    return Recurrence(mean, scale, jnp.stack(alphas, axis=-1), jnp.stack(betas, axis=-1))


def project(target: Recurrence, sigma: NoiseLevel) -> Expansion:
    """The least-squares denoiser of degree p at one noise level."""
    dtype = target.scale.dtype
    ratio = jnp.asarray(sigma, dtype) / target.scale
    a = 1 / jnp.sqrt(1 + ratio**2)
    run = _lanczos
    for _ in range(target.scale.ndim):
        run = jax.vmap(run)
    projected = run(target.alpha, target.beta, a, ratio * a)
    return Expansion(target.mean, target.scale, target.scale * jnp.sqrt(1 + ratio**2), *projected)


def evaluate(projection: Expansion, y: Float[Array, "*coords"]) -> Float[Array, "*coords"]:
    """`D(y)`, elementwise; infinite, never NaN, where the polynomial overflows or `y` is infinite already.

    An infinite entry of `y` is returned as it is, so that a diverged trajectory of the sampler stays at the infinity
    that it has reached.
    """
    # The second evaluation keeps the overflow out of reverse-mode derivatives.
    finite = jnp.isfinite(evaluate_once(projection, y)) | jnp.isnan(y)
    value = evaluate_once(projection, jnp.where(finite, y, 0.0))
    return jnp.where(finite, value, _overflow(projection, y))


def evaluate_once(projection: Expansion, y: Float[Array, "..."]) -> Float[Array, "..."]:
    """`evaluate` at half its cost, for where no reverse-mode derivative passes through a diverged value."""
    projection = jax.tree.map(lambda leaf: leaf.astype(y.dtype), projection)
    w = (y - projection.mean) / projection.noisy_scale
    value = sum(projection.coefficients[..., n] * h for n, h in enumerate(_basis(projection, w)))
    value = projection.mean + projection.scale * value
    return jnp.where(jnp.isfinite(value) | jnp.isnan(y), value, _overflow(projection, y))


def noisy_basis(projection: Expansion, y: Float[Array, "*coords"]) -> Float[Array, "*coords p1"]:
    """`h_0(w) ... h_p(w)`: the orthonormal polynomials of the noisy marginal at `y`."""
    return jnp.stack(_basis(projection, (y - projection.mean) / projection.noisy_scale), axis=-1)


def monomials(projection: Expansion) -> Float[Array, "*coords p1"]:
    """Coefficients of `(D - mean) / scale` in powers of `w`, that of `w^0` first."""
    degree = projection.alpha.shape[-1]
    unit = jnp.eye(degree + 1, dtype=projection.alpha.dtype)
    basis = [jnp.broadcast_to(unit[0], projection.coefficients.shape)]
    previous = jnp.zeros_like(basis[0])
    for n in range(degree):
        shifted = jnp.concatenate([jnp.zeros_like(basis[n][..., :1]), basis[n][..., :-1]], axis=-1)
        last_beta = projection.beta[..., n - 1, None] if n else 0.0
        residual = shifted - projection.alpha[..., n, None] * basis[n] - last_beta * previous
        previous = basis[n]
        basis.append(projection.inverse_beta[..., n, None] * residual)
    return sum(projection.coefficients[..., n, None] * basis[n] for n in range(degree + 1))


def _basis(projection, w):
    basis, previous = [jnp.ones_like(w)], jnp.zeros_like(w)
    for n in range(projection.alpha.shape[-1]):
        last_beta = projection.beta[..., n - 1] if n else 0.0
        residual = (w - projection.alpha[..., n]) * basis[n] - last_beta * previous
        previous = basis[n]
        basis.append(projection.inverse_beta[..., n] * residual)
    return basis


def _overflow(projection, y):
    """The infinity that the polynomial tends to on the side of `y`, or the one that `y` is."""
    degree = projection.alpha.shape[-1]
    leading = jnp.sign(projection.coefficients[..., -1]).astype(y.dtype) * jnp.sign(y) ** degree
    return jnp.where(jnp.isinf(y), y, jnp.where(leading < 0, -jnp.inf, jnp.inf)).astype(y.dtype)


def _lanczos(alpha, beta, a, b):
    """Recurrence of the law of `w = a u + b eps` and the projections of u, for one coordinate."""
    p = alpha.shape[0]
    dtype = alpha.dtype
    off_diagonal = jnp.diag(beta, 1)
    J = jnp.diag(jnp.append(alpha, 0.0)) + off_diagonal + off_diagonal.T
    root = jnp.diag(jnp.sqrt(jnp.arange(1, p + 1, dtype=dtype)), 1)
    J_noise = root + root.T
    tiny = jnp.finfo(dtype).tiny ** 0.5

    def step(vectors, n):
        vector = vectors[n].reshape(p + 1, p + 1)
        image = (a * dot(J, vector) + b * dot(vector, J_noise)).ravel()
        alpha_n = dot(vectors[n], image)
        for _ in range(2):  # once is not enough where two atoms are close (Parlett's "twice is enough")
            image = image - dot(vectors.T, dot(vectors, image))
        norm2 = jnp.sum(jnp.square(image))
        alive = norm2 > tiny
        norm = jnp.where(alive, jnp.sqrt(jnp.where(alive, norm2, 1.0)), 0.0)
        inverse = jnp.where(alive, 1 / jnp.where(alive, norm, 1.0), 0.0)
        return vectors.at[n + 1].set(image * inverse), (alpha_n, norm, inverse)

    start = jnp.zeros((p + 1, (p + 1) ** 2), dtype).at[0, 0].set(1.0)
    vectors, recurrence = jax.lax.scan(step, start, jnp.arange(p))
    vectors = vectors.reshape(p + 1, p + 1, p + 1)
    return *recurrence, alpha[0] * vectors[:, 0, 0] + beta[0] * vectors[:, 1, 0]


def _standardised_moments(moments, mean, scale):
    """`E[u^k]` of `u = (x - mean) / scale` from raw moments."""
    power = np.arange(moments.shape[0])
    lag = np.maximum(power[:, None] - power[None, :], 0)
    choose = np.array([[math.comb(k, j) for j in power] for k in power], float)
    return dot(jnp.asarray(choose, moments.dtype) * (-mean) ** lag, moments) / scale**power


def _hermite_moments(moments):
    """`E[He_k(u)]` from `E[u^k]`."""
    orders = moments.shape[0]
    hermite = np.zeros((orders, orders))
    hermite[0, 0] = 1
    for k in range(1, orders):
        hermite[k, 1:] = hermite[k - 1, :-1]
        if k > 1:
            hermite[k] -= (k - 1) * hermite[k - 2]
    return dot(jnp.asarray(hermite, moments.dtype), moments)


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
