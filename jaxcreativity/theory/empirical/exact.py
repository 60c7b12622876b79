"""No constraint: the Bayes-optimal denoiser of a finite training set, which memorises it."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import streaming
from jaxcreativity.denoiser import NoiseLevel


@_pytree.dataclass
class EmpiricalDenoiser:
    """The posterior mean over the training images:

        D(y, sigma) = sum_i w_i x_i,   w = softmax_i(-|y - x_i|^2 / (2 sigma^2))

    Reverse diffusion with it ends at a training image. Source: Kamb & Ganguli (2025), section 3; theory section 1.

    Squared distances are formed from differences, not expanded: their error stays relative to the distance itself,
    which float32 needs at small `sigma`.

    Args:
        data: `(n, *shape)`, floating point.
        chunk_size: largest number of images compared at once (all by default).

    Raises:
        ValueError: if the data are empty, not floating point, not finite, or `chunk_size < 1`.
    """

    data: Float[ArrayLike, "n *shape"]
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", _checks.examples("data", self.data))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`."""
        y = _checks.example("y", y, self.data.shape[1:])
        data = self.data.astype(y.dtype).reshape(self.data.shape[0], -1)

        def chunk_terms(indices):
            chunk = data[indices] if self.chunk_size else data
            differences = chunk - y.reshape(1, -1)
            return jnp.sum(jnp.square(differences), axis=1), chunk

        temperature = 2 * jnp.square(jnp.asarray(sigma, y.dtype))
        num_images = data.shape[0]
        mean = streaming.streaming_mean(chunk_terms, num_images, self.chunk_size or num_images, temperature)
        return mean.reshape(y.shape)
