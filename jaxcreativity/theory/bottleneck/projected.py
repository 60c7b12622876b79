"""The posterior mean over a training set, given a linear code."""

import jax
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.posterior import posterior_mean
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions import Atoms
from jaxcreativity.theory.bottleneck.projections import check_projection, flatten


@_pytree.dataclass
class ProjectedDenoiser:
    """The posterior mean over a training set, given only the code of the noisy example:

        D(y, sigma) = sum_i w_i x_i,   w = softmax_i(-|W (y - x_i)|^2 / (2 sigma^2))

    Equal codes are averaged, so images that occur more than once count as often as they occur. Which image is nearest
    is told apart down to gaps between codes of about `eps |x|`: with thousands of images and one code number, float32
    does not resolve all of them.

    Args:
        data: `(n, *shape)`, floating point.
        projection: W, `(r, d)` with orthonormal rows, `r < d`, `d` the entries of one example (`orthonormalise`).
        chunk_size: images in a matrix product. By default all for one y, few enough to stay in the cache for a batch.

    Raises:
        ValueError: if the data are empty, not floating point or not finite, the projection has another shape, as many
            rows as columns or rows that are not orthonormal, or `chunk_size < 1`.

    Example:
        >>> import jax.numpy as jnp
        >>> data = jnp.asarray([[1.0, 5.0], [-1.0, 3.0]])
        >>> denoiser = ProjectedDenoiser(data, jnp.asarray([[1.0, 0.0]]))
        >>> print(denoiser(jnp.asarray([0.9, 100.0]), 0.1))  # only the first coordinate is looked at
        [1. 5.]
    """

    data: Float[ArrayLike, "n *shape"]
    projection: Float[ArrayLike, "r d"]
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", _checks.examples("data", self.data))
        object.__setattr__(self, "projection", check_projection(self.projection, self.data[0].size))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)

    @property
    def codes(self) -> Atoms:
        """Law of the code W x: an atom for every image."""
        return Atoms(dot(flatten(self.data), self.projection.T.astype(self.data.dtype)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        data, projection = flatten(self.data.astype(y.dtype)), self.projection.astype(y.dtype)
        # Codes count from the middle of the data, for smaller numbers; the middle cancels.
        middle = jax.lax.stop_gradient(data.mean(axis=0))
        codes = dot(data - middle[None], projection.T)
        code = dot(projection, y.ravel() - middle)

        mean = posterior_mean(code, codes, sigma, values=data, chunk_size=self.chunk_size)
        return mean.reshape(y.shape)
