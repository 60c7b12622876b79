"""Overlapping patches, each denoised as a whole and averaged."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import streaming
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches._pixels import Extents, composite_means, in_small_groups


@_pytree.dataclass
class CompositeDenoiser:
    """Patch-set posterior composite: the posterior means of all windows, averaged where they overlap.

    For every k x k window p that lies inside the image

        D_p = sum_i w_i P_p x_i,   w = softmax_i(-|P_p y - P_p x_i|^2 / (2 sigma^2)),

    is a whole patch, over patches of the same position; a pixel's output is the mean over the windows that cover it. In
    the publication k falls with sigma, from the whole image over 23, 15, 11, 7, 5 to 3: one per band of `Piecewise`.
    With k the whole image this is the empirical denoiser.

    Source: Niedoba et al. (2024, arXiv 2411.19339); docs/theory/patches.md.

    Args:
        data: `(n, height, width, channels)`.
        patch_size: k, at most the larger side; a side shorter than k is covered whole. May be even.
        chunk_size: images compared at once. By default few enough to stay in the cache.

    Raises:
        ValueError: for bad data, a patch that is too large, sizes below 1.

    Example:
        With one training image every patch is its own:

        >>> import jax.numpy as jnp, jaxcreativity as jc
        >>> x = jnp.linspace(-1, 1, 36).reshape(1, 6, 6, 1)
        >>> denoiser = jc.theory.patches.CompositeDenoiser(x, 3)
        >>> bool(jnp.allclose(denoiser(jnp.zeros((6, 6, 1)), 1.0), x[0], atol=1e-6))
        True
    """

    data: Float[ArrayLike, "n height width channels"]
    patch_size: int = _pytree.static()
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", _checks.examples("data", self.data, ndim=4))
        largest = max(self.data.shape[1:3])
        if _checks.positive_int("patch_size", self.patch_size) > largest:
            raise ValueError(f"patch_size must be at most the larger image side {largest}, got {self.patch_size}")
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)

    def __call__(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not a floating-point image of the data's shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        return in_small_groups(CompositeDenoiser._mean)(self, y, jnp.asarray(sigma, y.dtype))

    def _mean(self, y, sigma, at_once):
        covers = (_covered(n, min(self.patch_size, n)) for n in y.shape[:2])
        extents = Extents(*(jnp.asarray(cover, y.dtype) for cover in covers))
        source = KeyImages(
            self.data, jnp.zeros(y.shape[2], y.dtype), jnp.ones(len(self.data), bool), chunk_size=self.chunk_size
        )
        total = composite_means(y, source, streaming.as_temperature(sigma, y.dtype), extents, at_once=at_once)
        number = jnp.outer(extents.rows.sum(axis=0), extents.columns.sum(axis=0))
        return total / number[:, :, None]


def _covered(length, size) -> np.ndarray:
    """`(windows, length)`: row i is 1 where a window that starts at pixel i covers the pixels, else 0."""
    offset = np.arange(length)[None] - np.arange(length - size + 1)[:, None]
    return ((offset >= 0) & (offset < size)).astype(float)
