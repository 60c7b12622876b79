"""Least-squares polynomial denoisers in one dimension, through orthogonal polynomials instead of normal equations.

For `w = a u + b eps`, u the standardised target, multiplication by w is `a J (x) I + b I (x) J_eps` on a space of
(p + 1)^2 entries, J the target's Jacobi matrix (`_recurrence`) and J_eps that of the Gaussian (alpha = 0,
beta_n = sqrt n). Lanczos on this matrix from `e_0 (x) e_0` gives the recurrence of the noisy marginal and, as entries
of its vectors q_n, the projections

    E[u h_n(w)] = <J e_0 (x) e_0, q_n>,   so   E[u | w] ~ sum_n E[u h_n] h_n(w).

(With `E[eps h_n] = <e_0 (x) e_1, q_n>` the same is the Stein form of docs/theory/polynomial.md; no more precise.) No
Gram matrix is formed: its condition number (sigma^-2p for atoms) would be squared. Source: Golub & Meurant,
*Matrices, Moments and Quadrature* (2010), chapter 5.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.polynomial._recurrence import Recurrence


@_pytree.dataclass
class Expansion:
    """`E[x | y]` projected on polynomials of degree p, for one noise level.

    w = (y - mean) / noisy_scale,   D = mean + scale sum_n coefficients[n] h_n(w),
    h_0 = 1,   h_{n+1} = inverse_beta[n] ((w - alpha[n]) h_n - beta[n - 1] h_{n-1})

    Args:
        mean: of each coordinate's law.
        scale: its standard deviation, or 1 where that is 0.
        noisy_scale: that of the noisy law.
        alpha: diagonal of the noisy law's recurrence.
        beta: off its diagonal.
        inverse_beta: `1 / beta`, 0 where beta is 0.
        coefficients: `E[u h_n]`, n = 0 ... p.
    """

    mean: Float[Array, "*coords"]
    scale: Float[Array, "*coords"]
    noisy_scale: Float[Array, "*coords"]
    alpha: Float[Array, "*coords p"]
    beta: Float[Array, "*coords p"]
    inverse_beta: Float[Array, "*coords p"]
    coefficients: Float[Array, "*coords p1"]


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
