"""Locality that comes from the covariance of the data: every output entry has a window of its own shape."""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.spectral import wiener_gain
from jaxcreativity.denoiser import NoiseLevel

Scale = Literal["row", "all"]

_FLAT = 1e-6
"""Share of the largest variance below which an entry counts as constant."""


@_pytree.dataclass
class MaskedDenoiser:
    """Softmax-mean over the images, distances taken over the entries that the Wiener filter of an output entry uses.

    With W = S (S + sigma^2 I)^-1 for the data's covariance S, entry m of the output (pixel and channel) is

        x_hat_m = sum_i w_i x_i[m],   w = softmax_i(-sum_{n in B_m} (y_n - x_in)^2 / (2 sigma^2)),

    B_m the n with `|W_mn| >= threshold * max_n |W_mn|`, m itself among them. The publication compares
    M_mn = W_mn / W_mm with the largest |M| of all rows (`relative_to="all"`). That is set by the entries of least
    variance, which have the smallest W_mm: one of them leaves every other window empty but for m. An entry whose
    variance is below a millionth of the largest counts as constant: its B_m is {m}, and it sets no maximum. Made by
    `fit`.

    Masks are those of exact arithmetic as far as float32 resolves a threshold, about 1e-3 of it, at every noise level:
    `fit` finds the eigenvalues and eigenvectors in float64 whatever the type of the data. Traced data (`fit` inside
    `jit` or `grad`) have to do with their own type. In float32 that is no use for sigma^2 below about
    1e-6 / threshold times the largest eigenvalue, where W is rounding.

    `batch_size` reproduces the published code: the softmax is normalised within every run of so many images, and the
    means are averaged over the runs. The exact softmax (`None`) does not depend on such a choice.

    Source: Lukoianov et al. (2025, arXiv 2509.09672); docs/theory/patches.md.

    Args:
        data: training images.
        eigenvalues: of S, in the order of the eigenvectors.
        eigenvectors: of S, one a column.
        threshold: share of the largest |W| of a row, or |M| of all.
        chunk_size: images compared at once. By default few enough to stay in the cache.
        batch_size: images of one softmax, or `None` for one softmax over all.
        relative_to: `"row"` or `"all"`.
    """

    data: Float[Array, "n *shape"]
    eigenvalues: Float[Array, " d"]
    eigenvectors: Float[Array, "d d"]
    threshold: Float[Array, ""]
    chunk_size: int | None = _pytree.static(default=None)
    batch_size: int | None = _pytree.static(default=None)
    relative_to: Scale = _pytree.static(default="row")

    def masks(self, sigma: NoiseLevel) -> Bool[Array, "d d"]:
        """Row m: the entries in B_m at one noise level.

        Raises:
            ValueError: if `sigma` is known to be negative or NaN.
        """
        variance = jnp.square(jnp.asarray(_checks.noise_level(sigma), self.eigenvalues.dtype))
        gains = wiener_gain(self.eigenvalues, variance)
        W = jnp.abs(jnp.matmul(self.eigenvectors * gains[None], self.eigenvectors.T, precision="highest"))
        variances = jnp.sum(jnp.square(self.eigenvectors) * self.eigenvalues[None], axis=1)
        varies = (variances > _FLAT * variances.max())[:, None]
        if self.relative_to == "all":
            W = jnp.where(varies, W / jnp.where(varies, jnp.diag(W)[:, None], 1.0), 0.0)
        largest = W.max(axis=1, keepdims=True) if self.relative_to == "row" else W.max()
        return (varies & (self.threshold * largest <= W)) | jnp.eye(len(W), dtype=bool)

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point and of an example's shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        temperature = streaming.as_temperature(sigma, y.dtype)
        mean = functools.partial(_masked_mean, chunk_size=self.chunk_size, batch_size=self.batch_size)
        chunk_size = min(len(self.data), self.chunk_size or _chunk_size(y.size))
        # A gradient keeps the running mean of every chunk beside the keys of one.
        numbers = (chunk_size + -(-len(self.data) // chunk_size)) * y.size
        grouped = batching.in_groups(mean, mean, streaming.default_group_size(numbers))
        return grouped(y, self.data, self.masks(sigma), temperature)


def _masked_mean(y, data, masks, temperature, *, chunk_size, batch_size):
    masks = masks.astype(y.dtype)
    flat = data.reshape(len(data), -1).astype(y.dtype)

    def mean(images):
        def chunk_terms(indices):
            squares = jnp.square(images[indices] - y.reshape(1, -1))
            return jnp.matmul(masks, squares.T, precision="highest"), images[indices]

        at_once = min(len(images), chunk_size or _chunk_size(y.size))
        return streaming.streaming_mean(chunk_terms, len(images), at_once, temperature, "dn,nd->d")

    if not batch_size:
        return mean(flat).reshape(y.shape)
    starts = range(0, len(flat), batch_size)
    return (sum(mean(flat[i : i + batch_size]) for i in starts) / len(starts)).reshape(y.shape)


def _chunk_size(size):
    return streaming.default_chunk_size(size, on_cpu=2**19)


def fit(
    x: Float[ArrayLike, "n *shape"],
    threshold: float = 0.02,
    *,
    relative_to: Scale = "row",
    normalisation: Literal["exact", "per_batch"] = "exact",
    batch_size: int | None = None,
    chunk_size: int | None = None,
) -> MaskedDenoiser:
    """Masked denoiser of a training set; `theory.patches` exports it as `masks_from_covariance`.

    Args:
        x: `(n, *shape)`.
        threshold: share of the largest |W| or |M| from which an entry belongs to the window; published 0.005 to 0.05.
        relative_to: `"row"`: the largest of each row counts; `"all"`: that of all rows, as published.
        normalisation: `"exact"`, or `"per_batch"`: the published code's average of softmaxes over `batch_size` images.
        batch_size: for `"per_batch"` only.
        chunk_size: images compared at once. By default few enough to stay in the cache.

    Raises:
        ValueError: for fewer than two images or bad data, `threshold` outside (0, 1], sizes below 1, an unknown
            `relative_to` or normalisation, or a `batch_size` that does not go with it.

    Example:
        Windows grow with the noise:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jnp.cumsum(jax.random.normal(jax.random.key(0), (200, 6, 1, 1)), axis=1)
        >>> denoiser = jc.theory.patches.masks_from_covariance(x, 0.05)
        >>> [int(denoiser.masks(sigma).sum()) for sigma in (0.1, 10.0)]
        [6, 36]
    """
    x = _checks.examples("x", x, min_count=2)
    _checks.choice("relative_to", relative_to, get_args(Scale))
    _checks.choice("normalisation", normalisation, ("exact", "per_batch"))
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    if (batch_size is not None) != (normalisation == "per_batch"):
        raise ValueError(f"batch_size goes with normalisation 'per_batch' only, got {batch_size} and {normalisation!r}")
    for name, size in (("batch_size", batch_size), ("chunk_size", chunk_size)):
        if size is not None:
            _checks.positive_int(name, size)
    values, vectors = _decompose(x.reshape(x.shape[0], -1))
    threshold = jnp.asarray(threshold, x.dtype)
    return MaskedDenoiser(x, values, vectors, threshold, chunk_size, batch_size, relative_to)


def _decompose(x):
    """Eigenvalues and eigenvectors of the covariance of the rows of x: from NumPy in float64, or of traced x."""
    known = _checks.known(x)
    if known is None:
        centred = x - x.mean(axis=0, keepdims=True)
        covariance = jnp.matmul(centred.T, centred, precision="highest") / len(x)
        values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(covariance))  # masks are steps: no derivative
        return jnp.maximum(values, 0), vectors
    mean = known.mean(axis=0, dtype=np.float64)
    parts = (np.asarray(known[i : i + 1024], np.float64) - mean for i in range(0, len(known), 1024))
    values, vectors = np.linalg.eigh(sum(part.T @ part for part in parts) / len(known))
    # What a singular covariance has in place of 0: as large as sigma^2 where there is next to no noise.
    values = np.where(values > len(values) * np.finfo(np.float64).eps * values[-1], values, 0)
    return jnp.asarray(values, x.dtype), jnp.asarray(vectors, x.dtype)
