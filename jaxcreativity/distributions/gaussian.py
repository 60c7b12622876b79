"""Gaussian laws: what every affine denoiser generates, and the distance between two of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import spectral
from jaxcreativity._numerics.arithmetic import safe_sqrt


@_pytree.dataclass
class Gaussian:
    """`N(mean, covariance)` in `d` dimensions (images flattened); the covariance may be singular.

    Args:
        mean: `(d,)`.
        covariance: `(d, d)`, symmetric positive semi-definite.

    Raises:
        ValueError: if the shapes do not fit.
    """

    mean: Float[ArrayLike, " d"]
    covariance: Float[ArrayLike, "d d"]

    def __post_init__(self):
        object.__setattr__(self, "mean", jnp.asarray(self.mean))
        object.__setattr__(self, "covariance", jnp.asarray(self.covariance))
        if self.mean.ndim != 1 or self.covariance.shape != 2 * self.mean.shape:
            raise ValueError(
                f"need mean (d,) and covariance (d, d), got {self.mean.shape} and {self.covariance.shape}; "
                "flatten images first"
            )

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Draw `n` independent vectors."""
        noise = jax.random.normal(key, (n, *self.mean.shape), self.mean.dtype)
        root = spectral.decompose(self.covariance[None])
        return self.mean[None] + spectral.apply(safe_sqrt, root, (), noise.T[None])[0].T

    def log_prob(self, x: Float[ArrayLike, " d"]) -> Float[Array, ""]:
        """Log-density at one vector, in nats; with a singular covariance, `inf` or `-inf`."""
        u = x - self.mean
        values, vectors = jnp.linalg.eigh(self.covariance)
        # One rounding unit of the largest eigenvalue is not variance.
        singular = values <= values.max() * values.size * jnp.finfo(values.dtype).eps
        safe = jnp.where(singular, 1.0, values)
        squares = jnp.square(jnp.matmul(vectors.T, u, precision="highest"))
        inside = -0.5 * jnp.sum(jnp.where(singular, 0.0, squares / safe + jnp.log(2 * jnp.pi * safe)))
        off_support = jnp.any(singular & (squares > values.max() * values.size * jnp.finfo(values.dtype).eps))
        degenerate = jnp.where(off_support, -jnp.inf, jnp.inf)
        return jnp.where(jnp.any(singular), degenerate, inside)


def fit(x: Float[ArrayLike, "n *shape"]) -> Gaussian:
    """The Gaussian with the mean and the covariance (divided by n) of a set of examples, flattened.

    Raises:
        ValueError: if `x` is empty, not floating point or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> print(fit(jnp.asarray([[0.0, 1.0], [2.0, 1.0]])).covariance)
        [[1. 0.]
         [0. 0.]]
    """
    x = _checks.examples("x", x)
    flat = x.reshape(x.shape[0], -1)
    mean = flat.mean(axis=0)
    centred = flat - mean[None]
    return Gaussian(mean, jnp.matmul(centred.T, centred, precision="highest") / x.shape[0])


def wasserstein2(p: Gaussian, q: Gaussian, *, precise: bool = False) -> Float[Array, ""]:
    """2-Wasserstein (Bures) distance between two Gaussians, in the units of the data:

        W2^2 = |m_p - m_q|^2 + tr(C_p + C_q - 2 (C_p^1/2 C_q C_p^1/2)^1/2)

    Source: Dowson & Landau (1982).

    Args:
        p: a Gaussian.
        q: another, in as many dimensions.
        precise: compute in float64 whatever the dtype of the input, and wherever JAX's own float64 is off; looks at
            values, so not traceable. By default the difference of traces is taken in the dtype of the input: in float32
            distances below about `1e-3 sqrt(tr C)` are rounding.

    Raises:
        ValueError: if the dimensions differ, or for `precise` with traced arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> p, q = Gaussian(jnp.zeros(2), jnp.eye(2)), Gaussian(jnp.asarray([3.0, 0.0]), 4 * jnp.eye(2))
        >>> round(float(wasserstein2(p, q)) ** 2, 3)
        11.0
    """
    if p.mean.shape != q.mean.shape:
        raise ValueError(f"p and q must have the same dimension, got {p.mean.shape[0]} and {q.mean.shape[0]}")
    if not precise:
        return _wasserstein2(p, q)
    arrays = {"p's mean": p.mean, "p's covariance": p.covariance, "q's mean": q.mean, "q's covariance": q.covariance}
    _checks.concrete("precise=True", **arrays)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (p, q))
        return _compiled_wasserstein2(*wide)


def _wasserstein2(p, q):
    identity = jnp.eye(p.mean.shape[0], dtype=p.mean.dtype)
    root = spectral.apply(safe_sqrt, spectral.decompose(p.covariance[None]), (), identity[None])[0]
    product = jnp.linalg.multi_dot([root, q.covariance, root], precision="highest")
    values = jnp.linalg.eigvalsh(0.5 * (product + product.T))
    cross = jnp.sum(safe_sqrt(jnp.maximum(values, 0.0)))
    squared = jnp.sum(jnp.square(p.mean - q.mean)) + jnp.trace(p.covariance) + jnp.trace(q.covariance) - 2 * cross
    return safe_sqrt(jnp.maximum(squared, 0.0))


_compiled_wasserstein2 = jax.jit(_wasserstein2)
