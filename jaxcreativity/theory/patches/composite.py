"""Overlapping patches, each denoised as a whole and averaged."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming, windows
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches._pixels import group_size, local_means


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
        size, counts = self._windows()
        most = group_size(len(self.data), self.chunk_size, math.prod((*size, *counts, y.shape[2])))
        together = CompositeDenoiser._together
        return batching.in_groups(together, together, most)(self, y, jnp.asarray(sigma, y.dtype))

    def _windows(self):
        """Rows and columns of a window, and their numbers."""
        size = tuple(min(self.patch_size, n) for n in self.data.shape[1:3])
        return size, tuple(n - k + 1 for n, k in zip(self.data.shape[1:3], size, strict=True))

    def _together(self, y, sigma):
        size, counts = self._windows()
        temperature = streaming.as_temperature(sigma, y.dtype)
        covers = [jnp.asarray(_covered(n, k), y.dtype) for n, k in zip(y.shape[:2], size, strict=True)]
        source = KeyImages(
            self.data, jnp.zeros(y.shape[2], y.dtype), jnp.ones(len(self.data), bool), chunk_size=self.chunk_size
        )
        cut = lambda images: windows.cut(images, size, (0, counts[0]), (0, counts[1]))  # noqa: E731
        patches = local_means(y, source, temperature, *covers, cut).reshape(*counts, *size, -1)
        total = jnp.zeros_like(y)
        for i in range(size[0]):  # add up each pixel of all windows at once
            strips = jnp.zeros((counts[0], *y.shape[1:]), y.dtype)
            for j in range(size[1]):
                strips = strips.at[:, j : j + counts[1]].add(patches[:, :, i, j])
            total = total.at[i : i + counts[0]].add(strips)
        number = jnp.sum(covers[0], axis=0)[:, None] * jnp.sum(covers[1], axis=0)[None]
        return total / number[:, :, None]


def _covered(length, size) -> np.ndarray:
    """`(windows, length)`: row i is 1 where a window that starts at pixel i covers the pixels, else 0."""
    offset = np.arange(length)[None] - np.arange(length - size + 1)[:, None]
    return ((offset >= 0) & (offset < size)).astype(float)
