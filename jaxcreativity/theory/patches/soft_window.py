"""Patch denoisers whose window has no edge, so that its size can be fitted by gradient.

The energy of query pixel q and source pixel q' is a weighted sum over offsets,

    E = sum_delta exp(-|delta|^2 / (2 l^2)) |y_{q + delta} - x_{q' + delta}|^2,

with a length l(sigma), in pixels, in place of the hard windows of `LocalDenoiser` (weights 1 inside, 0 outside).
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.changes import change
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._changes import Moves, posterior_change
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
        sigma = jnp.asarray(sigma, y.dtype)
        if not self.equivariant:
            return in_small_groups(SoftWindowDenoiser._by_position)(self, y, sigma)
        size = examples_at_once(*self._hard().queries_and_keys(), len(self.data))
        one, derivative = SoftWindowDenoiser._equivariant, SoftWindowDenoiser._equivariant_change
        return batching.in_groups(one, one, size, derivative)(self, y, sigma)[0]

    def _by_position(self, y, sigma, at_once):
        source, length = self._hard().source(y.dtype), self.length(sigma).astype(y.dtype)
        offsets = (jnp.asarray(np.subtract.outer(np.arange(n), np.arange(n)), y.dtype) for n in y.shape[:2])
        extents = Extents(*(_weight(offset, length) for offset in offsets))
        temperature = streaming.as_temperature(sigma, y.dtype)
        mean = local_means(source.centred(y), source, temperature, extents, at_once=at_once)
        return mean + source.mean.reshape(1, 1, -1)

    def _equivariant(self, y, sigma):
        """The estimate, and the posterior that it is the mean of."""
        hard = self._hard()
        source, temperature = hard.source(y.dtype), streaming.as_temperature(sigma, y.dtype)
        weights = self._weights(sigma, y.dtype)
        found = coarse_posterior(source.centred(y), *hard.queries_and_keys(), source, temperature, weights=weights)
        return found.mean + source.mean.reshape(1, 1, -1), found

    @staticmethod
    def _equivariant_change(args, out, tangents):
        """The change of `_equivariant`, linear in the tangents; `None` is no change."""
        (self, y, sigma), (self_moves, y_moves, sigma_moves) = args, tangents

        def weights(log_lengths, sigmas, sigma):
            return dataclasses.replace(self, log_lengths=log_lengths, sigmas=sigmas)._weights(sigma, y.dtype)

        as_temperature = functools.partial(streaming.as_temperature, dtype=y.dtype)
        lengths, lengths_move = (self.log_lengths, self.sigmas, sigma), (self_moves.log_lengths, self_moves.sigmas)
        moves = Moves(
            y_moves,
            self_moves.data,
            None,
            change(as_temperature, (sigma,), (sigma_moves,)),
            change(weights, lengths, (*lengths_move, sigma_moves)),
        )
        hard = self._hard()
        source = hard.source(y.dtype)
        at = source.centred(y), *hard.queries_and_keys(), source, as_temperature(sigma)
        found = posterior_change(moves, out[1], *at, weights=weights(*lengths))
        return found.mean, found

    def _weights(self, sigma, dtype):
        """Of the entries of a window."""
        _, keys = self._hard().queries_and_keys()
        length = self.length(sigma).astype(dtype)
        sides = zip(keys.size, keys.centre, strict=True)
        rows, columns = (_weight(jnp.arange(size, dtype=dtype) - centre, length) for size, centre in sides)
        return jnp.repeat(jnp.outer(rows, columns).ravel(), self.data.shape[-1])

    def _hard(self) -> LocalDenoiser:
        boundary = "circular" if self.equivariant else "zero"
        size = self.largest or 2 * max(self.data.shape[1:3]) - 1
        return LocalDenoiser(
            self.data, size, equivariant=self.equivariant, boundary=boundary, chunk_size=self.chunk_size
        )


def _weight(offset, length):
    return jnp.exp(-0.5 * jnp.square(offset / length))
