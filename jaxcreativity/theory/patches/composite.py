"""Overlapping patches, each denoised as a whole and averaged."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import streaming, windows
from jaxcreativity.denoiser import NoiseLevel


@_pytree.dataclass
class CompositeDenoiser:
    """Patch-set posterior composite: the posterior means of all windows, averaged where they overlap.

    For every k x k window p that lies inside the image

        D_p = sum_i w_i P_p x_i,   w = softmax_i(-|P_p y - P_p x_i|^2 / (2 sigma^2)),

    is a whole patch, over patches of the same position; a pixel's output is the mean over the windows that cover it. In
    the publication k falls with sigma, from the whole image over 23, 15, 11, 7, 5 to 3: one per band of `Piecewise`.
    With k the whole image this is the empirical denoiser.

    Source: Niedoba et al. (2024, arXiv 2411.19339); theory section 5.

    Args:
        data: `(n, height, width, channels)`.
        patch_size: k, at most the larger side; a side shorter than k is covered whole. May be even.
        chunk_size: images compared at once.

    Raises:
        ValueError: for bad data, a patch that is too large, sizes below 1.
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
        """Estimate `x` from `y`."""
        y = _checks.example("y", y, self.data.shape[1:])
        temperature = streaming.as_temperature(sigma, y.dtype)
        size = tuple(min(self.patch_size, n) for n in y.shape[:2])
        counts = tuple(n - k + 1 for n, k in zip(y.shape[:2], size, strict=True))
        covers = [
            jnp.asarray(_covered(n, k), y.dtype) for n, k in zip(y.shape[:2], size, strict=True)
        ]  # (window, pixel)
        d = size[0] * size[1] * y.shape[2]

        def chunk_terms(indices):
            images = self.data[indices].astype(y.dtype)
            squares = jnp.sum(jnp.square(images - y[None]), axis=-1)
            energies = jnp.einsum("ai,nij,bj->abn", covers[0], squares, covers[1], precision="highest")
            return energies, windows.cut(images, size, (0, counts[0]), (0, counts[1]))

        chunk = self.chunk_size or streaming.default_chunk_size(counts[0] * counts[1] * d)
        means = streaming.streaming_mean(chunk_terms, len(self.data), chunk, temperature, "abn,nabd->abd")
        patches = means.reshape(*counts, *size, -1)
        total = jnp.zeros_like(y)
        for i in range(size[0]):  # add up each pixel of all windows at once
            strips = jnp.zeros((counts[0], *y.shape[1:]), y.dtype)
            for j in range(size[1]):
                strips = strips.at[:, j : j + counts[1]].add(patches[:, :, i, j])
            total = total.at[i : i + counts[0]].add(strips)
        number = jnp.sum(covers[0], axis=0)[:, None] * jnp.sum(covers[1], axis=0)[None]
        return total / number[:, :, None]


def _covered(length, size) -> np.ndarray:
    """`(windows, length)`: 1 where a window that starts at the row's number covers a pixel."""
    offset = np.arange(length)[None] - np.arange(length - size + 1)[:, None]
    return ((offset >= 0) & (offset < size)).astype(float)
