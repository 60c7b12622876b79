"""What a denoiser of degree p can see of a law: its moments up to order 2p, as recurrence coefficients.

A law with finite moments has orthonormal polynomials with a three-term recurrence

    x p_n = beta_{n+1} p_{n+1} + alpha_n p_n + beta_n p_{n-1},

that is, multiplication by x is a tridiagonal (Jacobi) matrix J with `e_0` standing for the constant 1. The first p
alphas and betas are equivalent to the moments of order up to 2p. Here they come from samples, by the discretised
Stieltjes procedure; `_moments` takes raw moments, and `_expansion` makes the denoiser of each noise level of them.
Source: Gautschi, *Orthogonal Polynomials* (2004), sections 2.1-2.2.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcreativity import _pytree


@_pytree.dataclass
class Recurrence:
    """The moments of order 0 ... 2p of one law per coordinate, as recurrence coefficients of `(x - mean) / scale`.

    Args:
        mean: of each coordinate.
        scale: its standard deviation, or 1 where that is 0.
        alpha: `alpha_0 ... alpha_{p-1}`.
        beta: `beta[..., k]` is the coefficient between `p_k` and `p_{k+1}`; it is 0 from `k = m - 1` on for a law of m
            atoms, `m <= p`.
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


@partial(jax.jit, static_argnames="degree")
def from_samples(x: Float[Array, "n *coords"], degree: int, floor: float | Float[Array, ""] = 0.0) -> Recurrence:
    """Recurrence coefficients of the empirical law of each coordinate by the discretised Stieltjes procedure.

    The moments are those of the set (divided by n). A coordinate whose standard deviation is at most `floor` (or
    rounding) counts as constant.

    Args:
        x: examples; every entry is a coordinate of its own.
        degree: p.
        floor: standard deviation that counts as none.
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
