"""The empirical denoiser, smoothed: it stops copying where the training images' cells meet."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.empirical.exact import EmpiricalDenoiser


@_pytree.dataclass
class SmoothedDenoiser:
    """The empirical denoiser D averaged over Gaussian perturbations of y,

        D_s(y, sigma) = 1/M sum_m D(y + s e_m, sigma),   e_m ~ N(0, I),

    a closed form without training whose samples are barycentres of training images. The e_m are fixed, so this is a
    function of y, and come in pairs of opposite sign, so their mean is 0 and averaging D is averaging the score. `fit`
    makes it.

    Source: Scarvelis, Borde & Solomon (2023, arXiv 2310.12395), section 3 (docs/theory/empirical.md).

    Args:
        empirical: D.
        perturbations: e_m, `(m, *shape)`.
        scale: s, in the units of the data.
    """

    empirical: EmpiricalDenoiser
    perturbations: Float[Array, "m *shape"]
    scale: Float[Array, ""]

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.perturbations.shape[1:])
        sigma = _checks.noise_level(sigma)
        shifts = (self.scale * self.perturbations).astype(y.dtype)
        add = lambda total, shift: (total + self.empirical(y + shift, sigma), None)  # noqa: E731
        return jax.lax.scan(add, jnp.zeros_like(y), shifts)[0] / len(shifts)


def fit(
    x: Float[ArrayLike, "n *shape"],
    scale: float,
    *,
    key: PRNGKeyArray,
    num_pairs: int = 8,
    chunk_size: int | None = None,
) -> SmoothedDenoiser:
    """Smoothed denoiser of a training set.

    Args:
        x: `(n, *shape)`.
        scale: s, standard deviation of the perturbations, in the units of x; 0 is the empirical denoiser.
        key: random key for the perturbations.
        num_pairs: M / 2.
        chunk_size: images in a matrix product. By default all for one y, few enough to stay in the cache for a batch.

    Raises:
        ValueError: for bad data, a negative or infinite scale, counts below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> denoiser = fit(jnp.asarray([[0.0], [1.0]]), 0.5, key=jax.random.key(0))
        >>> 0.1 < float(denoiser(jnp.asarray([0.4]), 0.05)[0]) < 0.9  # the empirical denoiser says 0
        True
    """
    x = _checks.examples("x", x)
    if not 0 <= scale < float("inf"):
        raise ValueError(f"scale must be finite and not negative, got {scale}")
    half = jax.random.normal(key, (_checks.positive_int("num_pairs", num_pairs), *x.shape[1:]), x.dtype)
    return SmoothedDenoiser(
        EmpiricalDenoiser(x, chunk_size), jnp.concatenate([half, -half]), jnp.asarray(scale, x.dtype)
    )
