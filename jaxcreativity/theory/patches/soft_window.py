"""Patch denoisers whose window has no edge, so that its size can be fitted by gradient.

The energy of query pixel q and source pixel q' is a weighted sum over offsets,

    E = sum_delta exp(-|delta|^2 / (2 l^2)) |y_{q + delta} - x_{q' + delta}|^2,

with a length l(sigma), in pixels, in place of the hard windows of `LocalDenoiser` (weights 1 inside, 0 outside).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._energies import examples_at_once
from jaxcreativity.theory.patches._pixels import Extents, in_small_groups, local_means
from jaxcreativity.theory.patches._posterior import coarse_posterior
from jaxcreativity.theory.patches.local import LocalDenoiser


@_pytree.dataclass
class SoftWindowDenoiser:
    """`LocalDenoiser` with Gaussian weights on the offsets; differentiable in the lengths.

    This module has its formula (docs/theory/patches.md).

    Args:
        data: `(n, height, width, channels)`.
        log_lengths: logarithm of l at each of `sigmas`, linear in log(sigma) between them and constant beyond.
        sigmas: positive noise levels, strictly decreasing.
        equivariant: whether all positions of the images are compared, windows wrapping (ELS), or only the same (LS),
            windows cut at the border.
        largest: side of the square of offsets that is looked at if equivariant, odd; all by default.
        chunk_size: images compared at once. By default few enough to stay in the cache.

    Raises:
        ValueError: for bad data, levels that do not decrease or have not one length each, an even or too large square.
    """

    data: Float[ArrayLike, "n height width channels"]
    log_lengths: Float[ArrayLike, " levels"]
    sigmas: Float[ArrayLike, " levels"]
    equivariant: bool = _pytree.static(default=True)
    largest: int | None = _pytree.static(default=None)
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        for name in ("data", "log_lengths", "sigmas"):
            object.__setattr__(self, name, jnp.asarray(getattr(self, name)))
        if self.sigmas.ndim != 1 or self.log_lengths.shape != self.sigmas.shape or not self.sigmas.size:
            raise ValueError(
                "log_lengths must have one entry for each of sigmas, "
                f"got {self.log_lengths.shape} and {self.sigmas.shape}"
            )
        levels = _checks.known(self.sigmas)
        if levels is not None and not ((levels > 0).all() and (np.diff(levels) < 0).all()):
            raise ValueError(f"sigmas must be positive and strictly decreasing, got {levels}")
        self._hard()  # checks the rest

    def length(self, sigma: NoiseLevel) -> Float[Array, ""]:
        """Length l at one noise level, in pixels.

        Raises:
            ValueError: if `sigma` is known to be negative or NaN.
        """
        levels = jnp.log(self.sigmas[::-1])
        sigma = jnp.asarray(_checks.noise_level(sigma), levels.dtype)
        # Constant beyond the levels: the logarithm of 0 is left out.
        at = jnp.log(jnp.maximum(sigma, self.sigmas[-1].astype(levels.dtype)))
        return jnp.exp(jnp.interp(at, levels, self.log_lengths[::-1]))

    def __call__(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not a floating-point image of the data's shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        if self.equivariant:
            size = examples_at_once(*self._hard().queries_and_keys(), len(self.data))
            grouped = batching.in_groups(SoftWindowDenoiser._mean, SoftWindowDenoiser._mean, size)
        else:
            grouped = in_small_groups(SoftWindowDenoiser._mean)
        return grouped(self, y, jnp.asarray(sigma, y.dtype))

    def _mean(self, y, sigma, at_once=1):
        hard = self._hard()
        source = hard.source(y.dtype)
        u = source.centred(y)
        temperature = streaming.as_temperature(sigma, y.dtype)
        length = self.length(sigma).astype(y.dtype)
        weight = lambda offset: jnp.exp(-0.5 * jnp.square(offset / length))  # noqa: E731
        if not self.equivariant:
            bands = (weight(jnp.asarray(np.subtract.outer(np.arange(n), np.arange(n)), y.dtype)) for n in u.shape[:2])
            mean = local_means(u, source, temperature, Extents(*bands), at_once=at_once)
        else:
            queries, keys = hard.queries_and_keys()
            rows, columns = (
                weight(jnp.arange(size, dtype=y.dtype) - centre)
                for size, centre in zip(keys.size, keys.centre, strict=True)
            )
            weights = jnp.repeat(jnp.outer(rows, columns).ravel(), u.shape[2])
            mean = coarse_posterior(u, queries, keys, source, temperature, weights=weights).mean
        return mean + source.mean.reshape(1, 1, -1)

    def _hard(self) -> LocalDenoiser:
        boundary = "circular" if self.equivariant else "zero"
        size = self.largest or 2 * max(self.data.shape[1:3]) - 1
        return LocalDenoiser(
            self.data, size, equivariant=self.equivariant, boundary=boundary, chunk_size=self.chunk_size
        )
