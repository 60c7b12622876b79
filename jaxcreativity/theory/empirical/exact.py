"""No constraint: the Bayes-optimal denoiser of a finite training set, which memorises it."""

from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.posterior import posterior_mean
from jaxcreativity.denoiser import NoiseLevel


@_pytree.dataclass
class EmpiricalDenoiser:
    """The posterior mean over the training images:

        D(y, sigma) = sum_i w_i x_i,   w = softmax_i(-|y - x_i|^2 / (2 sigma^2))

    Reverse diffusion with it ends at a training image. Source: Kamb & Ganguli (2025), section 3
    (docs/theory/empirical.md).

    Args:
        data: `(n, *shape)`, floating point.
        chunk_size: images in a matrix product. By default all for one y, few enough to stay in the cache for a batch.

    Raises:
        ValueError: if the data are empty, not floating point, not finite, or `chunk_size < 1`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> images = jnp.asarray([[0.0, 0.0], [1.0, 1.0]])
        >>> sigmas = jc.schedules.grid(jc.schedules.karras(0.02, 20.0), 10)
        >>> z = jax.random.normal(jax.random.key(0), (100, 2))
        >>> samples = jc.generate(EmpiricalDenoiser(images), z, sigmas)
        >>> sorted({tuple(x) for x in samples.round(3).tolist()})  # it memorises
        [(0.0, 0.0), (1.0, 1.0)]
    """

    data: Float[ArrayLike, "n *shape"]
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", _checks.examples("data", self.data))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        data = self.data.astype(y.dtype).reshape(self.data.shape[0], -1)
        return posterior_mean(y.ravel(), data, sigma, chunk_size=self.chunk_size).reshape(y.shape)
